"""Matches grow from a few landmarks over the whole field, from coordinates alone."""
