"""What differs in space between the two microscopes."""
