"""Simulated boards, GPUs and counters for the real jtop, the real nvidia-ml-py and the real kernel calls to read.

Nothing measured on these is a measurement of a Jetson: rail labels are NVIDIA's, volts and amperes are invented.
"""
