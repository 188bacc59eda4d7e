"""Scenes of neurons, imaged twice: paired two-photon and fMOST data with known truth."""
