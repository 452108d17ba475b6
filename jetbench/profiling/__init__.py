"""Measures what a built network costs: counts, latency, memory, power, and the environment of the measurement."""
