"""Specs: what a user can request, as frozen data read from YAML; needs no torch and runs nothing."""
