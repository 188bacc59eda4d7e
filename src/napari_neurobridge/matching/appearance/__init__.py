"""What the crops say of a pair: embeddings on disk, similarity, likelihood ratio."""
