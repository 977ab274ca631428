"""Scores of a model against a reference structure, in NumPy only."""
