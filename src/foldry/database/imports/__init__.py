"""Predictions of other programs and databases → deposits: one module per layout of files."""
