"""Attention within columns with one query per column."""
