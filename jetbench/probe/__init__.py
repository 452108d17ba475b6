"""What measures. Needs Python 3.6, torch and nothing else, so that it also runs where jetbench cannot be installed."""
