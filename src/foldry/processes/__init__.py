"""Other processes, of this program and of others: none of them outlives the one that started it."""
