"""Samplers of active learning: which items of a pool to have annotated, and in which order."""
