"""Runs a study to its end: one driver per folder, which places jobs and records their results."""
