"""The reproduction of the JetSeg paper: its claims, its tables, equation 2, and the comparison of samplers."""
