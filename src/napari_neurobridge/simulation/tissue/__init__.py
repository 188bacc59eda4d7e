"""A block of cortex: where cells and vessels lie."""
