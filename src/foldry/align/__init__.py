"""Pairwise and profile alignment, and sequence weights."""
