"""Matching of points by attention: LightGlue, in two and in three dimensions."""
