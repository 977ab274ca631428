"""Conversion between file formats and objects, as pure functions."""
