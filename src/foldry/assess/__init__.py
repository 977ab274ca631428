"""Files of models and experiments → tables of scores."""
