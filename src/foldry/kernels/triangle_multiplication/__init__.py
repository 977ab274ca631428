"""The sum over the third residue in triangle multiplication."""
