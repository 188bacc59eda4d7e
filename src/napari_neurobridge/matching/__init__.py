"""Which cell is which: probabilities, matches of whole fields, and rankings."""
