"""Chance coincidences counted against a brute-force count at random places."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.candidate_field import CandidateField

SIZE = 800.0
SIGMAS = np.array([4.0, 8.0, 16.0])


def volume(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0, SIZE, (15_000, 3)) * [0.5, 1, 1]


def plane(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0, SIZE, (900, 3)) * [0, 1, 1]


def tilted_plane(rng: np.random.Generator) -> np.ndarray:
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return plane(rng) @ turn.T


def stack(rng: np.random.Generator) -> np.ndarray:
    points = rng.uniform(0, SIZE, (3000, 3))
    points[:, 0] = 30.0 * rng.integers(0, 5, 3000)
    return points


def curved_sheet(rng: np.random.Generator) -> np.ndarray:
    points = plane(rng)
    points[:, 0] = 25.0 * np.sin(points[:, 1] * 2 * np.pi / 500.0)
    return points


def slab(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0, SIZE, (2500, 3)) * [0.04, 1, 1]


def counted(points: np.ndarray, places: np.ndarray, sigma: float) -> float:
    """Mean at places of Gaussians of this width about all somata."""
    square = ((places[:, None] - points[None]) ** 2).sum(axis=2)
    return float(
        np.exp(-square / (2 * sigma**2)).sum(axis=1).mean() / (2 * np.pi * sigma**2) ** 1.5
    )


@pytest.mark.parametrize("make", [volume, plane, tilted_plane, stack, curved_sheet, slab])
def test_coincidences_are_those_at_places_that_cells_could_have(make):
    """Places are drawn as somata are, anew: of the same plane, sheet, stack or volume."""
    drawn = make(np.random.default_rng(1))
    # One seed gives the tilt, so that both halves lie in the same plane.
    rows = np.random.default_rng(2).permutation(len(drawn))
    middle = np.linalg.norm(drawn - drawn.mean(axis=0), axis=1) < 0.35 * SIZE
    half = len(drawn) // 2
    points = drawn[rows[:half]]
    places = drawn[[row for row in rows[half:] if middle[row]]][:1500]
    field = CandidateField(points)
    nearest = field.nearest(places, 1)[1]
    for sigma in SIGMAS:
        said = field.coincidence_density(nearest, np.full(len(places), sigma**2)).mean()
        assert said == pytest.approx(counted(points, places, sigma), rel=0.35)


def test_in_a_plane_coincidences_are_as_frequent_as_its_area_density_says():
    rng = np.random.default_rng(0)
    field = CandidateField(plane(rng))
    area = 900 / SIZE**2
    expected = field.expected_coincidences(SIGMAS**2)
    np.testing.assert_allclose(expected, area * 2 * np.pi * SIGMAS**2, rtol=0.3)
    assert field.dimensions == 2


def test_in_a_volume_the_scale_does_not_matter():
    field = CandidateField(volume(np.random.default_rng(0)))
    density = field.coincidence_density(np.arange(500)[:, None], np.full(500, 16.0))[:, 0]
    np.testing.assert_allclose(density, field.density[:500], rtol=0.15)
    assert field.dimensions == 3


def test_two_somata_are_a_gallery_and_one_is_not():
    field = CandidateField([[0.0, 0, 0], [10, 0, 0]])
    assert np.isfinite(field.coincidence_density(np.array([[0, 1]]), np.array([4.0]))).all()
    with pytest.raises(InputError, match="two somata"):
        CandidateField([[0.0, 0, 0]])


def test_somata_in_one_place_have_a_finite_density():
    field = CandidateField(np.zeros((60, 3)))
    assert np.isfinite(field.density).all()
