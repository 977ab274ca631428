"""Relaxation of models with Amber's force field in OpenMM."""
