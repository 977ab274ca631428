"""Attention within rows, with a pair bias."""
