"""Text and binary ↔ objects, as pure functions."""
