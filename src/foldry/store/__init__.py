"""Data at rest: files that other processes may read or write at the same time."""
