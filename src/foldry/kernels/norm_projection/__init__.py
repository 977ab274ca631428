"""Layer norm and a map to few channels."""
