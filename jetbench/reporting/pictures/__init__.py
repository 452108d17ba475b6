"""Plots, and how they look."""
