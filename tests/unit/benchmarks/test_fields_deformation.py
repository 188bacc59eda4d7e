"""Deformations of generated fields have the sizes they state."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from napari_neurobridge.benchmarks.fields_deformation import (
    ShearBands,
    Sheet,
    Tear,
    Waves,
    WindowCompression,
)


@pytest.fixture(scope="module")
def somata() -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (3000, 3)) * (200.0, 400.0, 400.0)


def gradient(displacement, points: np.ndarray, step: float = 1e-3) -> np.ndarray:
    """Derivatives (N, 3, 3) of each component along each axis."""
    return np.stack(
        [
            (displacement(points + step * axis) - displacement(points - step * axis)) / (2 * step)
            for axis in np.eye(3)
        ],
        axis=2,
    )


@pytest.mark.parametrize("rms_um", [6.0, 20.0])
@pytest.mark.parametrize("flat", [False, True])
def test_waves_have_their_rms_and_wavelength(somata, rms_um, flat):
    found = Waves(rms_um, 250.0, flat=flat).draw(np.random.default_rng(1), somata)
    moved = found(somata)
    assert np.sqrt((moved**2).sum(axis=1).mean()) == pytest.approx(rms_um, rel=1e-6)
    np.testing.assert_allclose(moved.mean(axis=0), 0, atol=1e-9)
    # Of a wave of one length, the Laplacian is -(2 π / wavelength)² times the wave itself.
    step, number = 0.5, 2 * np.pi / 250.0
    laplacian = (
        sum(
            found(somata + step * axis) + found(somata - step * axis) - 2 * moved
            for axis in np.eye(3)
        )
        / step**2
    )
    constant = np.linalg.lstsq(np.ones((len(somata), 1)), laplacian + number**2 * moved)[0]
    np.testing.assert_allclose(laplacian + number**2 * moved, constant + 0 * moved, atol=1e-4)
    if flat:
        assert not moved[:, 0].any()


@pytest.mark.parametrize("waves", [Waves(20.0, 250.0), Waves(40.0, 400.0)])
def test_waves_shear_and_fold_nothing(somata, waves):
    for seed in range(5):
        slope = gradient(waves.draw(np.random.default_rng(seed), somata), somata)
        np.testing.assert_allclose(np.trace(slope, axis1=1, axis2=2), 0, atol=1e-5)
        assert np.linalg.det(np.eye(3) + slope).min() > 0.1


def test_waves_that_must_fold_are_refused(somata):
    with pytest.raises(ValueError, match="fold"):
        Waves(200.0, 100.0).draw(np.random.default_rng(0), somata)


@pytest.mark.parametrize("bulge_um", [0.0, 60.0])
def test_a_tear_jumps_by_so_much_across_a_curved_surface(somata, bulge_um):
    moved = Tear(40.0, bulge_um).draw(np.random.default_rng(2), somata)(somata)
    sides = np.unique(moved.round(9), axis=0)
    assert len(sides) == 2
    assert np.linalg.norm(sides[1] - sides[0]) == pytest.approx(40.0)
    upper = (moved == moved[0]).all(axis=1)
    assert 0.15 < upper.mean() < 0.85

    def told_apart(columns: np.ndarray) -> float:
        model = LogisticRegression(C=1e4, max_iter=5000).fit(columns, upper)
        return model.score(columns, upper)

    scaled = somata / 100.0
    products = [scaled[:, i] * scaled[:, j] for i in range(3) for j in range(i + 1)]
    assert told_apart(np.column_stack([scaled, *products])) > 0.995
    assert (told_apart(scaled) > 0.99) == (bulge_um == 0)


def test_shear_bands_slip_by_so_much(somata):
    found = ShearBands(30.0, 50.0, count=1).draw(np.random.default_rng(3), somata)
    far = np.random.default_rng(0).normal(size=(500, 3))
    moved = found(1e4 * far / np.linalg.norm(far, axis=1, keepdims=True))
    apart = np.linalg.norm(moved[:, None] - moved, axis=2)
    assert apart.max() == pytest.approx(30.0, rel=1e-3)
    # It slides along itself: no volume is gained or lost.
    np.testing.assert_allclose(np.linalg.det(np.eye(3) + gradient(found, somata)), 1.0, atol=1e-5)


def test_a_window_presses_most_at_the_top(somata):
    found = WindowCompression(0.35, 80.0).draw(np.random.default_rng(0), somata)
    top = somata[:, 0].min()
    at = np.column_stack([top + np.array([1e-2, 80.0, 160.0]), np.zeros(3), np.zeros(3)])
    strain = gradient(found, at)[:, 0, 0]
    np.testing.assert_allclose(strain, -0.35 * np.exp([0.0, -1.0, -2.0]), rtol=1e-3)
    assert not found(somata)[:, 1:].any()


def test_a_sheet_moves_along_z_by_its_rms(somata):
    moved = Sheet(25.0, 500.0).draw(np.random.default_rng(0), somata)(somata)
    assert not moved[:, 1:].any()
    assert moved[:, 0].std() == pytest.approx(25.0)
