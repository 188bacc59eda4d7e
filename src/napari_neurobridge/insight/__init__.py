"""What a model has learnt and how well it works: figures, maps of attention, reports."""
