"""Attention of the structure module, over scalars, points and pairs."""
