"""From structures and alignments to weights."""
