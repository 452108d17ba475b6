"""Measures a network. Needs only Python 3.6 and torch, so that it also runs where jetbench cannot be installed."""
