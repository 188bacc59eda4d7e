"""The smooth displacement has the spectrum that it states, and never folds space."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.integrate import quad

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.deformation.displacement import (
    DisplacementParams,
    draw_displacement,
    power_spectrum,
)
from napari_neurobridge.simulation.keyed import Key

STATIONARY = DisplacementParams(modulation=0.0)
BAND = (2 * np.pi / 400, 2 * np.pi / 150)


def grid(count: int, step_um: float) -> torch.Tensor:
    axis = torch.arange(count) * step_um
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).reshape(3, -1)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.5])
def test_stated_spectrum_is_a_power_law_that_sums_to_the_mean_square(exponent):
    params = DisplacementParams(nonrigid_um=3.0, spectral_exponent=exponent)
    total, _ = quad(lambda k: float(power_spectrum(params, k)), *BAND)
    assert total == pytest.approx(9.0, rel=1e-6)
    near, far = power_spectrum(params, [0.02, 0.04])
    assert near / far == pytest.approx(2**exponent)
    assert (power_spectrum(params, [0.0, 0.015, 0.042]) == 0).all()


@pytest.mark.parametrize("exponent", [1.0, 3.0])
def test_sampled_fields_have_the_stated_spectrum(exponent):
    params = STATIONARY.model_copy(update={"spectral_exponent": exponent})
    count, step = 40, 60.0
    edges = np.linspace(*BAND, 6)
    frequency = 2 * np.pi * np.fft.fftfreq(count, step)
    z, y, x = np.meshgrid(frequency, frequency, frequency, indexing="ij")
    wavenumber = np.sqrt(z**2 + y**2 + x**2)
    points = grid(count, step)
    taper = torch.hann_window(count, periodic=True)
    taper = taper[:, None, None] * taper[:, None] * taper
    taper /= taper.square().mean().sqrt()
    power = np.zeros((count,) * 3)
    seeds = 30
    for seed in range(seeds):
        field = draw_displacement(params, Key.of(seed)).at(points).view(3, *taper.shape)
        transform = torch.fft.fftn(field * taper, dim=(1, 2, 3), norm="forward")
        power += transform.abs().square().mean(dim=0).numpy() / seeds
    # Power of one mode of this grid, from the shell-integrated density.
    mode = (2 * np.pi / (count * step)) ** 3 / (4 * np.pi * np.maximum(wavenumber, 1e-9) ** 2)
    stated = power_spectrum(params, wavenumber) * mode
    # The taper blurs the sharp ends of the band by some modes, which count as theirs.
    edges[0], edges[-1] = edges[0] - 0.008, edges[-1] + 0.008
    for low, high in pairwise(edges):
        shell = (wavenumber >= low) & (wavenumber < high)
        assert power[shell].sum() == pytest.approx(stated[shell].sum(), rel=0.15)
    beyond = (wavenumber < edges[0]) | (wavenumber > edges[-1])
    assert power[beyond].sum() < 0.01 * power.sum()


def test_spectrum_is_the_same_in_all_directions_and_for_all_components():
    directions, polarisations = np.zeros((3, 3)), np.zeros((3, 3))
    for seed in range(20):
        field = draw_displacement(STATIONARY, Key.of(seed))
        unit = field.wave_vectors / field.wave_vectors.norm(dim=1, keepdim=True)
        directions += (unit.T @ unit).numpy() / 20 / len(unit)
        polarisations += (field.amplitudes.T @ field.amplitudes / 2).numpy() / 20
    np.testing.assert_allclose(directions, np.eye(3) / 3, atol=0.01)
    np.testing.assert_allclose(polarisations, 16 * np.eye(3), atol=0.5)


@pytest.mark.parametrize("modulation", [0.0, 0.8])
def test_each_component_has_the_stated_rms(modulation):
    params = DisplacementParams(nonrigid_um=2.5, modulation=modulation)
    points = torch.from_numpy(np.random.default_rng(0).uniform(-4000, 4000, (3, 20_000)))
    for seed in range(5):
        rms = draw_displacement(params, Key.of(seed)).at(points).square().mean(dim=1).sqrt()
        assert rms.numpy() == pytest.approx(2.5, rel=0.15)


def test_local_size_follows_the_modulation_with_place():
    modulating = draw_displacement(DisplacementParams(modulation=0.6), Key.of(0))
    points = grid(12, 80.0).double()
    square = torch.zeros(points.shape[1], dtype=torch.float64)
    seeds = 400
    for seed in range(seeds):
        field = replace(
            draw_displacement(STATIONARY, Key.of(1, seed)),
            modulation=modulating.modulation,
            modulation_vector=modulating.modulation_vector,
            modulation_phase=modulating.modulation_phase,
        )
        square += field.at(points).square().mean(dim=0) / seeds
    stated = modulating.modulation_at(points)
    np.testing.assert_allclose(square.sqrt(), 4.0 * stated, rtol=0.15)
    assert stated.max() / stated.min() == pytest.approx(1.6 / 0.4, rel=0.1)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rms=st.floats(0.01, 5),
    modulation=st.floats(0, 0.5),
    exponent=st.floats(2, 5),
)
def test_gradient_never_exceeds_its_bound(seed, rms, modulation, exponent):
    params = DisplacementParams(nonrigid_um=rms, modulation=modulation, spectral_exponent=exponent)
    field = draw_displacement(params, Key.of(seed))
    points = torch.from_numpy(np.random.default_rng(seed).uniform(-1000, 1000, (3, 500)))
    step = 1e-4 * torch.eye(3, dtype=torch.float64)[:, :, None]
    gradient = torch.stack([(field.at(points + e) - field.at(points - e)) / 2e-4 for e in step])
    assert torch.linalg.matrix_norm(gradient.permute(2, 1, 0), 2).max() <= field.gradient_bound
    assert field.gradient_bound < 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_inverse_undoes_it(seed):
    field = draw_displacement(DisplacementParams(nonrigid_um=5.0), Key.of(seed))
    points = torch.from_numpy(np.random.default_rng(seed).uniform(-1000, 1000, (3, 100)))
    torch.testing.assert_close(field.undo(field.move(points)), points, atol=1e-8, rtol=0)


def test_no_displacement_is_none():
    field = draw_displacement(DisplacementParams(nonrigid_um=0.0), Key.of(0))
    assert (field.at(grid(3, 50.0)) == 0).all()
    assert field.gradient_bound == 0


def test_displacement_that_would_fold_the_tissue_is_refused():
    with pytest.raises(InputError, match="fold the tissue: lower nonrigid_um"):
        draw_displacement(DisplacementParams(nonrigid_um=12.0), Key.of(0))


@pytest.mark.parametrize(
    "bad",
    [
        {"nonrigid_um": -1.0},
        {"nonrigid_wavelength_um": (400.0, 150.0)},
        {"nonrigid_wavelength_um": (0.0, 150.0)},
        {"nonrigid_wavelength_um": (200.0, 200.0)},
        {"modulation": 1.5},
        {"modulation_wavelength_um": 0.0},
    ],
)
def test_bad_parameters_are_refused(bad):
    with pytest.raises(ValidationError):
        DisplacementParams(**bad)
