"""The sum of outer products over the sequences."""
