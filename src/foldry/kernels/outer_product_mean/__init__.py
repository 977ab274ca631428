"""The outer product mean's contraction."""
