"""Conversion of queries to the arrays that the network reads, with all random draws."""
