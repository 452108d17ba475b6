"""What an architecture means and what it costs: layers, operations, counts and design problems, without torch."""
