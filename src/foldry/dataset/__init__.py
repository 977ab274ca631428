"""Structures and alignments → indexed training data; free of torch."""
