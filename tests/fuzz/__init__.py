"""Damaged and crafted files for every reader."""
