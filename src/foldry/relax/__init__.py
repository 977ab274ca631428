"""A model → the same model with sound bonds and without clashes, by Amber in OpenMM."""
