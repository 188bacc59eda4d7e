"""Benchmarks of registration: the truth that methods are compared with, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from napari_neurobridge.benchmarks import real_registration, registration
from napari_neurobridge.benchmarks.registration_methods import (
    MethodOutcome,
    Photographs,
    by_neighbours,
    edge_lengths,
)
from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.keypoints import Keypoints, PlanarImage
from napari_neurobridge.training.image_tasks import ImageTask

PIXEL_UM = 1.8


def textured(size: int) -> PlanarImage:
    noise = np.random.default_rng(0).standard_normal((size, size + 20))
    return PlanarImage.of(gaussian_filter(noise, 3).astype(np.float32), PIXEL_UM)


def at(plane: PlanarImage, places_um: np.ndarray) -> np.ndarray:
    return map_coordinates(plane.values, places_um.T / plane.pixel_um, order=1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_bent_slab_shows_at_the_new_places_what_the_plane_showed(seed) -> None:
    plane = textured(120)
    places = np.random.default_rng(1).uniform(40, 180, (200, 2))
    bent, went = real_registration._bent(plane, places, [seed, 0])
    assert np.corrcoef(at(plane, places), at(bent, went))[0, 1] > 0.97
    # It is bent, and not only turned and shifted.
    linear = np.linalg.lstsq(np.column_stack([places, np.ones(200)]), went)[0]
    left = went - np.column_stack([places, np.ones(200)]) @ linear
    assert np.linalg.norm(left, axis=1).mean() > 1.0


def test_real_images_have_to_be_named() -> None:
    asked = real_registration.RealRegistrationParameters()
    with pytest.raises(InputError, match="Real images are needed"):
        real_registration.run(asked)


def shifted_task() -> ImageTask:
    """Return a task whose target lies 10 µm lower; its last rows show something else."""
    grid = np.stack(np.indices((100, 100)), axis=-1).astype(np.float32)
    truth = grid + np.array([10.0, 0.0], dtype=np.float32)
    truth[80:] = np.nan
    image = textured(100).values[:, :100]
    return ImageTask(image, image, truth, (np.empty((0, 2)), np.empty((0, 2))))


def test_matches_are_right_within_the_limits_and_nowhere_without_truth() -> None:
    source = np.array([[10.0, 10.0], [20.0, 20.0], [30.0, 30.0], [90.0, 50.0]])
    off = np.array([[1.0, 0.0], [4.0, 0.0], [20.0, 0.0], [0.0, 0.0]])
    target = source + np.array([10.0, 0.0]) + off
    found = MethodOutcome.of(
        shifted_task(), source, target, lambda points: points + np.array([0.0, 10.0, 3.0]), 1.0
    )
    assert found.matches == 4
    assert found.right == (1, 2, 2)
    assert found.tre_um is not None
    np.testing.assert_allclose(found.tre_um, 3.0, atol=1e-4)
    row = registration._method_row("one", [found, MethodOutcome(0, (0, 0, 0), None, 3.0)])
    assert row.matched == 0.5
    assert row.matches == 2
    assert row.precision["5"] == pytest.approx(0.5)
    assert row.tre_median_um == pytest.approx(3.0, abs=1e-4)


def test_only_accepted_maps_that_are_near_count_as_near() -> None:
    rows = [
        registration._Decided(True, 2.0, 1.0),
        registration._Decided(True, 9.0, 1.0),
        registration._Decided(False, 1.0, 1.0),
        registration._Decided(False, None, 1.0),
    ]
    row = registration._decision_row("related", rows)
    assert (row.pairs, row.accepted, row.accepted_within_5um) == (4, 2, 1)
    assert registration._decision_row("mirrored", rows).accepted_within_5um is None


def test_edges_are_the_same_for_an_image_that_is_turned_and_mirrored() -> None:
    points = np.random.default_rng(0).uniform(0, 200, (40, 2))
    turned = points @ np.array([[0.6, -0.8], [-0.8, -0.6]]).T + 30
    assert edge_lengths(points).shape == (40, 16)
    np.testing.assert_allclose(edge_lengths(points), edge_lengths(turned), atol=1e-9)


@pytest.mark.parametrize("count", [3, 60])
def test_the_graph_of_neighbours_finds_a_shift_where_all_somata_are_seen(count) -> None:
    somata = np.random.default_rng(1).uniform(5, 75, (count, 2))
    sides = [somata, somata + np.array([10.0, 0.0])]

    class Told:
        def describe(self, image: object) -> Told:
            return self

        def somata(self, least: float) -> Keypoints:
            return Keypoints.at(sides.pop(0))

    class Matcher:
        extractor = Told()

    found = by_neighbours(Matcher(), shifted_task())  # type: ignore[arg-type]
    assert found.matches == (count if count > 8 else 0)
    assert found.right[1] == (
        np.isfinite(shifted_task().map_points(somata)[:, 0]).sum() * (count > 8)
    )


def test_files_that_are_no_networks_are_refused(tmp_path) -> None:
    pytest.importorskip("onnxruntime")
    file = tmp_path / "none.onnx"
    file.write_bytes(b"nothing")
    with pytest.raises(InputError, match="no ONNX network"):
        Photographs(file, file)
