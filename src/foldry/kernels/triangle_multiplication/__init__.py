"""The triangle multiplication's contraction."""
