"""Sampling, losses, the training loop and the papers' evaluation protocol."""
