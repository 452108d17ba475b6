"""What a person sees: tables, plots and progress. Nothing here imports torch."""
