"""Runs a sweep to its end: one driver per folder, which places jobs and writes down what they found."""
