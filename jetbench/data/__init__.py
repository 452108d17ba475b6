"""Datasets, one file each, and their images as batches."""
