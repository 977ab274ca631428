"""A database of predictions: entries and their versions, kept, searched, rendered and exported."""
