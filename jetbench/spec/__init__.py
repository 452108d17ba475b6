"""What a person can ask for: frozen data, read from YAML. No torch, and nothing is run."""
