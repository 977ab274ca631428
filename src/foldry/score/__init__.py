"""Two structures → numbers; NumPy only."""
