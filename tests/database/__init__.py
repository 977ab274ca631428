"""Tests of `foldry.database`."""
