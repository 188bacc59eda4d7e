"""Cells that other programs found, as centres, sizes and outlines."""
