"""The dual-channel encoder: one unit vector per crop, the same for both microscopes."""
