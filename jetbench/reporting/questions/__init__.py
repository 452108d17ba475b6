"""Answers to questions about studies, each as a table: compare, effects, transfer, budgets."""
