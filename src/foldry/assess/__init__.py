"""Assessment of models by experiments, from files to tables of scores."""
