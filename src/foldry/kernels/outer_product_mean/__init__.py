"""Outer product mean over the sequences."""
