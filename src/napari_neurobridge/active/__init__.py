"""What to ask next, and how far new data is from what a model has seen."""
