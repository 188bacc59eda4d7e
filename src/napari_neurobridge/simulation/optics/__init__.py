"""What each label and each microscope makes of the tissue."""
