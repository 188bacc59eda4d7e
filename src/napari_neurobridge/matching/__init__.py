"""Candidates for a queried soma: the index of embeddings, and the search in it."""
