"""One subject per page: a network, its cost, a profile, or a whole study as HTML."""
