"""The reproduction of the JetSeg paper: its claims, tables and equation 2, and a comparison of samplers."""
