"""Alignments and templates → arrays the network reads; every random draw happens here."""
