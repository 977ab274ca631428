"""Pairwise alignment and sequence weights."""
