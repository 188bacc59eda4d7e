"""A first match without any landmark, from the constellation of the somata."""
