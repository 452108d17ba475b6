"""Searches a space of networks: proposals, limits, the stopping rule, and the final answer."""
