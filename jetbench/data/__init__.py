"""Datasets, one file each, their cache, and their images as batches."""
