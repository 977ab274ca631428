"""From structures and alignments to trained weights."""
