"""Search: proposals, limits, the stopping rule, and the final answer."""
