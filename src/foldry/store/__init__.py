"""Data at rest: whatever other processes may be reading or writing at the same time."""
