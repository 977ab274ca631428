"""The steps from each schema to the next, one file for each revision."""
