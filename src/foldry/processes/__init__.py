"""Worker processes and other programs, none of which outlives the process that started it."""
