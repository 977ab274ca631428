"""Structures and alignments → indexed training data, without torch."""
