"""Training: brief and seeded, from scratch, with losses, augmentation, checkpoints and scores."""
