"""Results of runs: records with raw samples, the verdict on them, and the folder that holds them."""
