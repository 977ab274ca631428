"""Two linear maps with a relu between them, at every place."""
