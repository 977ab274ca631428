"""Conversion of user input to queries."""
