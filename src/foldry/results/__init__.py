"""The files and pages of a prediction, written and read."""
