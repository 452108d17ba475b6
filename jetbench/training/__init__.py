"""Brief, seeded training from scratch, and the data it learns from."""
