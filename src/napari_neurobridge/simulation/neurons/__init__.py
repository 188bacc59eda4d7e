"""Shapes of neurons: grown by rules, or real reconstructions."""
