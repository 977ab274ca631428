"""Triangle multiplicative update."""
