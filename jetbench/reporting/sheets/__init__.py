"""One thing on one page: a network, its cost, a profile, a whole study as HTML."""
