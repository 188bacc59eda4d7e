"""Which cell to ask a person about next."""
