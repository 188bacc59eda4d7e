"""Shared state of one viewer or one script, free of Qt and napari."""
