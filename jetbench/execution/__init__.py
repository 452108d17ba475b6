"""Runs jobs: each in its own process, with a time limit, a log and a result."""
