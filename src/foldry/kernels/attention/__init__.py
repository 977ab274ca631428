"""Attention over rows with a pair bias."""
