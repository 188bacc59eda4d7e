"""Where the default numbers of the simulator come from."""

from __future__ import annotations

_CALIBRATED = "calibrated"
_ESTIMATE = "our estimate"
_RANGE = "design: the range to cover"

ORIGINS: tuple[tuple[str, str, str], ...] = (
    ("tissue.density_per_mm3", "cells that either label could show, per mm³", _CALIBRATED),
    ("tissue.min_distance_um", "between two centres of somata, µm", _ESTIMATE),
    ("tissue.top_um", "depth of the image's top below the surface, µm", _ESTIMATE),
    ("tissue.cluster_strength", "SD of the log density from place to place", _ESTIMATE),
    (
        "vessels.capillary_m_per_mm3",
        "m of capillary per mm³",
        "order of magnitude: Tsai et al. 2009, Blinder et al. 2013",
    ),
    ("vessels.penetrating_per_mm2", "vessels that dive, per mm² of surface", "as above"),
    ("two_photon.voxel_um", "voxel, µm (z y x)", "usual z-stack"),
    ("two_photon.lateral_sigma_um", "lateral point spread, SD, µm", _ESTIMATE),
    ("two_photon.axial_sigma_um", "axial point spread at the surface, SD, µm", _RANGE),
    ("two_photon.axial_growth_per_mm", "its relative growth per mm of depth", _ESTIMATE),
    ("two_photon.scattering_um", "depth of a loss to 1/e, µm", _ESTIMATE),
    ("two_photon.power_compensation", "share of it that laser power makes up for", _ESTIMATE),
    ("two_photon.neuropil", "level of the neuropil", _ESTIMATE),
    ("two_photon.absorption_per_um", "optical depth of 1 µm of blood", _ESTIMATE),
    ("two_photon.shadow_spread", "half-width a shadow gains per µm of depth", _ESTIMATE),
    ("two_photon.photons", "photons per voxel at intensity 1", _ESTIMATE),
    ("two_photon_label.visible_fraction", "share of cells visible at rest", _CALIBRATED),
    ("two_photon_label.brightness_sigma", "SD of the log brightness", _CALIBRATED),
    ("two_photon_label.nuclear_exclusion", "indicator missing in the nucleus", _ESTIMATE),
    ("fmost_label.labelled_fraction", "share of cells labelled ex vivo", _CALIBRATED),
    ("fmost_label.cut_fraction", "share of cells cut", _ESTIMATE),
    ("fmost_clutter.fibres_m_per_mm3", "m of passing fibres per mm³", _CALIBRATED),
    ("fmost.voxel_um", "voxel, µm (own z y x)", "design: as in fMOST"),
    ("fmost.section_um", "thickness of a section, µm", "design: as in fMOST"),
    ("fmost.saturation", "intensity at which the response bends", _ESTIMATE),
    ("misfit.angle_deg", "largest rotation that remains in the plane, °", _ESTIMATE),
    ("misfit.tilt_deg", "SD of either tilt, °", _ESTIMATE),
    ("misfit.scale", "scale of each axis that remains", _CALIBRATED),
    ("misfit.nonrigid_um", "smooth displacement, RMS per axis, µm", _ESTIMATE),
    ("misfit.nonrigid_wavelength_um", "its wavelengths, µm", _ESTIMATE),
    ("misfit.spectral_exponent", "fall of its power with the wavenumber", _ESTIMATE),
    ("misfit.dimple_um", "largest dimple under the window, µm", _ESTIMATE),
    ("misfit.compression", "largest compression at the surface", _ESTIMATE),
    ("misfit.tears_per_mm3", "tears per mm³", _ESTIMATE),
    ("misfit.axial_scale_error", "largest error of the in-vivo depth scale", _RANGE),
    ("recording.rate_hz", "frames per second", "design"),
    ("recording.activity.rate_hz", "median rate of spikes, Hz", "Buzsáki and Mizuseki 2014"),
    ("recording.activity.decay_s", "decay of the indicator, s", "GCaMP6s: Chen et al. 2013"),
)
"""Parameter, what it is, and where its default comes from."""
