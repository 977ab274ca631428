"""A prediction after it is made: its files, read and written, and its pages."""
