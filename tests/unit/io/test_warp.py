"""Warped volumes against a dense computation; what is read, and at which level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io import warp as module
from napari_neurobridge.io.views import LazyVolume
from napari_neurobridge.io.volumes import Volume
from napari_neurobridge.io.warp import WarpedView, interpolation_error, warp_image
from napari_neurobridge.spaces import Affine
from napari_neurobridge.spaces.correspondences import Correspondences
from napari_neurobridge.spaces.thin_plate import weighted_thin_plate

MOVING_UM = (3.0, 1.5, 2.0)
GRID_UM = (2.0, 1.0, 1.0)
SHAPE = (12, 60, 150)


class Watched(LazyVolume):
    """An array that remembers which boxes were read."""

    def __init__(self, array):
        super().__init__(array.shape, array.dtype, (8, 8, 8))
        self.array, self.boxes = array, []

    def load(self, box):
        self.boxes.append(box)
        return self.array[box]


@pytest.fixture
def image():
    noise = np.random.default_rng(0).normal(size=(30, 80, 90))
    return (100 + 2000 * gaussian_filter(noise, 1.5)).astype(np.float32)


def rotated(scale=1.0, shift=(0.0, 0.0, 0.0)):
    linear = scale * Rotation.from_rotvec([0.3, 0.1, -0.05]).as_matrix()
    return Affine.from_linear(linear, shift, source="grid", target="moving")


def bent(seed=0, amplitude=4.0):
    rng = np.random.default_rng(seed)
    source = rng.uniform(-20, 170, (120, 3)) * [0.4, 0.8, 1]
    target = rotated(shift=(5, 20, 3)).map_points(source)
    target += amplitude * np.sin(source[:, [1, 2, 0]] / 40)
    return weighted_thin_plate(Correspondences(source, target))


def dense_places(transform, shape, voxel_um):
    nodes = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    return transform.map_points(nodes.reshape(-1, 3) * voxel_um).reshape(nodes.shape)


def brute_force(image, places_um, voxel_um, fill=0.0):
    """Return what SciPy makes of exact places, and which lie on the image."""
    voxels = places_um / voxel_um
    values = map_coordinates(image, np.moveaxis(voxels, -1, 0), order=1, mode="nearest")
    inside = ((voxels >= -0.5) & (voxels <= np.array(image.shape) - 0.5)).all(axis=-1)
    return np.where(inside, values, fill), inside, voxels


def steepest(image, voxel_um):
    """Return the largest change of an interpolated image per µm."""
    slopes = [np.abs(np.diff(image, axis=a)).max() / voxel_um[a] for a in range(3)]
    return float(np.linalg.norm(slopes))


def clear_of_edges(voxels, shape, margin=0.1):
    """Return which places are inside or outside whatever small error they have."""
    distance = np.minimum(np.abs(voxels + 0.5), np.abs(voxels - (np.array(shape) - 0.5)))
    return distance.min(axis=-1) > margin


@pytest.mark.parametrize("tolerance_um", [0.02, 0.5])
@pytest.mark.parametrize("make", [rotated, bent])
def test_it_is_what_scipy_computes_densely_within_the_tolerance(image, make, tolerance_um):
    transform = make()
    view = WarpedView(
        Volume([image], name="m", voxel_size_um=MOVING_UM),
        transform,
        shape=SHAPE,
        voxel_size_um=GRID_UM,
        tolerance_um=tolerance_um,
        fill=-1.0,
    )
    places = dense_places(transform, SHAPE, GRID_UM)
    expected, inside, voxels = brute_force(image, places, MOVING_UM, -1.0)
    assert 0.1 < inside.mean() < 0.99
    sure = clear_of_edges(voxels, image.shape, 2 * tolerance_um)
    found = warp_image(view)
    assert found.dtype == np.float32
    bound = tolerance_um * steepest(image, MOVING_UM) + 1e-3 * np.ptp(image)
    assert np.abs(found - expected)[sure].max() <= bound
    assert np.abs(found - expected)[sure].mean() <= 0.1 * bound


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 1000),
    st.floats(0.5, 8),
    st.floats(40, 200),
    st.sampled_from([0.01, 0.1, 1.0]),
)
def test_interpolated_places_err_less_than_the_tolerance(seed, amplitude, length, tolerance):
    rng = np.random.default_rng(seed)
    directions, phases = rng.normal(size=(3, 3)), rng.uniform(0, 6, 3)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)

    class Waves:
        source, target = "grid", "moving"

        def map_points(self, points):
            points = np.asarray(points)
            return points + amplitude * np.sin(points @ directions.T / length + phases)

    view = WarpedView(
        Volume([np.zeros((4, 4, 4))], name="m", voxel_size_um=(50.0, 50.0, 50.0)),
        Waves(),
        shape=(9, 60, 70),
        voxel_size_um=(4.0, 2.0, 2.0),
        tolerance_um=tolerance,
    )
    whole = (slice(0, 9), slice(0, 60), slice(0, 70))
    exact = dense_places(Waves(), (9, 60, 70), (4.0, 2.0, 2.0))
    error = np.linalg.norm(view.places_um(whole) - exact, axis=-1).max()
    # The estimate is one of leading order in the step.
    assert error <= 1.1 * tolerance


def test_the_error_of_a_map_of_the_second_degree_is_bounded_and_not_by_far():
    step = 10.0
    nodes = np.stack(np.meshgrid(*[np.arange(5) * step] * 3, indexing="ij"), axis=-1)
    bend = np.array([2e-3, 1e-3, 5e-4])
    lattice = (bend * nodes**2).sum(axis=-1, keepdims=True) * [1, 0, 0]
    # In a cell's middle each axis errs by c (h/2)², and they add up.
    assert interpolation_error(lattice, [True] * 3) == pytest.approx(bend.sum() * step**2 / 4)
    assert interpolation_error(lattice, [True, False, False]) == pytest.approx(2e-3 * 25)
    assert interpolation_error(lattice, [False] * 3) == 0


@pytest.mark.parametrize(
    "key",
    [np.s_[7], np.s_[3:9, 50], np.s_[..., 149], np.s_[:, ::7, 120:150:3], np.s_[5, 6, 7]],
)
def test_a_slice_is_that_of_the_whole(image, key):
    volume = Volume([image], name="m", voxel_size_um=MOVING_UM)
    options = {"shape": SHAPE, "voxel_size_um": GRID_UM}
    whole = warp_image(WarpedView(volume, bent(), **options))
    view = WarpedView(volume, bent(), **options)
    np.testing.assert_allclose(view[key], whole[key], atol=1e-3 * np.ptp(image))
    assert view[key].shape == whole[key].shape


def test_only_voxels_around_what_is_looked_at_are_read(image):
    watched = Watched(image)
    view = WarpedView(
        Volume([watched], name="m", voxel_size_um=(2.0, 1.0, 1.0)),
        Affine.from_linear(np.eye(3), (4, 10, 20), source="a", target="b"),
        shape=(20, 60, 60),
        voxel_size_um=(2.0, 1.0, 1.0),
    )
    assert watched.boxes == []
    view[3, 5:9, 30:40]
    (box,) = watched.boxes
    assert box == (slice(5, 6), slice(15, 19), slice(50, 60))
    # What lies wholly outside is not read at all.
    beyond = WarpedView(
        view.moving,
        Affine.from_linear(np.eye(3), (0, 500, 0), source="a", target="b"),
        shape=(20, 60, 60),
        voxel_size_um=(2.0, 1.0, 1.0),
        fill=7.0,
    )
    assert (beyond[4] == 7.0).all()
    assert len(watched.boxes) == 1


def test_little_is_read_at_a_time_and_the_result_is_the_same(image, monkeypatch):
    options = {"shape": SHAPE, "voxel_size_um": GRID_UM}
    volume = Volume([image], name="m", voxel_size_um=MOVING_UM)
    expected = warp_image(WarpedView(volume, bent(), **options))
    watched = Watched(image)
    monkeypatch.setattr(module, "_PATCH_VOXELS", 500)
    view = WarpedView(Volume([watched], name="m", voxel_size_um=MOVING_UM), bent(), **options)
    np.testing.assert_allclose(warp_image(view), expected, atol=1e-3 * np.ptp(image))
    assert max(np.prod([s.stop - s.start for s in box]) for box in watched.boxes) <= 500


def test_lattices_are_kept_but_not_without_bound(image, monkeypatch):
    class Counted:
        source, target, calls = "a", "b", 0

        def map_points(self, points):
            self.calls += 1
            return np.asarray(points, dtype=float)

    counted = Counted()
    volume = Volume([image], name="m", voxel_size_um=MOVING_UM)
    view = WarpedView(volume, counted, shape=SHAPE, voxel_size_um=GRID_UM)
    view[3]
    once = counted.calls
    view[4]
    assert counted.calls == once
    monkeypatch.setattr(module, "_KEPT_BYTES", 0)
    other = WarpedView(volume, counted, shape=SHAPE, voxel_size_um=GRID_UM)
    warp_image(other)
    assert len(other._lattices) == 1


def levels_of(image, factors):
    """Return block means of an image, one level for each factor."""
    shapes = [[n // f for n in image.shape] for f in factors]
    cut = [image[tuple(slice(n * f) for n in s)] for s, f in zip(shapes, factors, strict=True)]
    return [
        piece.reshape([n for m in s for n in (m, f)]).mean(axis=(1, 3, 5))
        for piece, s, f in zip(cut, shapes, factors, strict=True)
    ]


@pytest.mark.parametrize(("voxel", "level"), [(0.5, 0), (1.0, 0), (1.9, 1), (2.5, 1), (9.0, 2)])
def test_the_level_is_the_coarsest_that_is_fine_enough(image, voxel, level):
    volume = Volume(levels_of(image, (1, 2, 4)), name="m", voxel_size_um=(1.0, 1.0, 1.0))
    still = Affine(np.eye(4), "a", "b")
    view = WarpedView(volume, still, shape=(2, 4, 5), voxel_size_um=(voxel,) * 3)
    assert view.level == level


def test_a_coarser_level_lies_at_the_same_place():
    ramp = np.arange(64, dtype=np.float32) * np.ones((32, 32, 1), dtype=np.float32)
    volume = Volume(levels_of(ramp, (1, 2, 4)), name="m", voxel_size_um=(1.0, 1.0, 1.0))
    still = Affine(np.eye(4), "a", "b")
    view = WarpedView(volume, still, shape=(6, 6, 14), voxel_size_um=(4.0, 4.0, 4.0))
    assert view.level == 2
    np.testing.assert_allclose(view[3, 3, 1:13], 4 * np.arange(1, 13), atol=1e-4)


def test_a_plane_is_warped_onto_a_plane_whatever_the_depth(image):
    plane = Volume([image[:1]], name="m", voxel_size_um=(1.0, 1.0, 1.0))
    deep = Affine.from_linear(np.eye(3), (400, 0, 0), source="a", target="b")
    view = WarpedView(plane, deep, shape=(1, 80, 90), voxel_size_um=(1.0, 1.0, 1.0))
    np.testing.assert_allclose(view[0], image[0], atol=1e-4 * np.ptp(image))


def test_in_a_volume_a_plane_is_as_thick_as_its_voxel(image):
    plane = Volume([image[:1]], name="m", voxel_size_um=(10.0, 1.0, 1.0))
    still = Affine.from_linear(np.eye(3), (-20, 0, 0), source="a", target="b")
    view = WarpedView(plane, still, shape=(40, 80, 90), voxel_size_um=(1.0, 1.0, 1.0))
    shown = np.flatnonzero(np.asarray(view).any(axis=(1, 2)))
    assert shown.tolist() == list(range(15, 26))


def test_voxels_a_hundred_times_finer_than_the_grid_are_refused(image):
    fine = Volume([image], name="fine", voxel_size_um=(0.05, 0.05, 0.05))
    with pytest.raises(InputError, match="stands for 1000000 voxels of fine, of which no coarser"):
        WarpedView(
            fine, Affine(np.eye(4), "a", "b"), shape=(5, 5, 5), voxel_size_um=(5.0, 5.0, 5.0)
        )


def test_voxels_a_hundred_times_coarser_than_the_grid_are_interpolated():
    coarse = Volume(
        [np.arange(8.0).reshape(2, 2, 2)], name="coarse", voxel_size_um=(100.0, 100.0, 100.0)
    )
    still = Affine(np.eye(4), "a", "b")
    view = WarpedView(coarse, still, shape=(101, 101, 101), voxel_size_um=(1.0, 1.0, 1.0))
    np.testing.assert_allclose(view[50, 50, ::25], [3, 3.25, 3.5, 3.75, 4], atol=1e-4)


def test_it_is_a_level_of_a_volume_like_any_other(image):
    volume = Volume([image], name="m", voxel_size_um=MOVING_UM)
    view = WarpedView(volume, rotated(), shape=SHAPE, voxel_size_um=GRID_UM)
    warped = Volume([view], name="warped", voxel_size_um=GRID_UM)
    assert (view.ndim, view.shape, len(view)) == (3, SHAPE, 12)
    np.testing.assert_array_equal(warped.read((2, 3, 4), (5, 6, 7)), view[2:5, 3:6, 4:7])


def test_bad_voxels_are_told():
    nothing = Volume([np.full((9, 9, 9), np.nan)], name="m", voxel_size_um=(1.0, 1.0, 1.0))
    still = Affine(np.eye(4), "a", "b")
    view = WarpedView(nothing, still, shape=(9, 9, 9), voxel_size_um=(1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="NaN or infinite pixels"):
        view[4]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shape", (0, 5, 5)),
        ("voxel_size_um", (1.0, -1.0, 1.0)),
        ("voxel_size_um", (1.0, np.nan, 1.0)),
        ("step_um", 0.0),
        ("tolerance_um", -1.0),
    ],
)
def test_what_is_no_grid_is_refused(image, name, value):
    options = {"shape": SHAPE, "voxel_size_um": GRID_UM} | {name: value}
    with pytest.raises(InputError, match="must be positive numbers"):
        WarpedView(Volume([image], name="m", voxel_size_um=MOVING_UM), rotated(), **options)


def test_computing_the_whole_is_told_and_can_be_stopped(image):
    volume = Volume([image], name="m", voxel_size_um=MOVING_UM)
    view = WarpedView(volume, rotated(), shape=(40, 90, 150), voxel_size_um=GRID_UM)
    told = []
    warp_image(view, report=lambda *said: told.append(said))
    assert [said[:2] for said in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def stop(*_):
        raise Cancelled

    with pytest.raises(Cancelled):
        warp_image(view, report=stop)
