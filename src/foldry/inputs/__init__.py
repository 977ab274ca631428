"""What a person hands in → queries."""
