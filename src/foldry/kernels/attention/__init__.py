"""Gated self-attention within rows, with a pair bias."""
