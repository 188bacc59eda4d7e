"""Models: where they are found, and what a model folder holds."""
