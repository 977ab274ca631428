"""User input → queries."""
