"""The workbench on napari's canvases; layers here are views, never the record."""
