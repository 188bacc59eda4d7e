"""Somata of volumes and recordings, slab by slab, with an extractor that only sees bright spots."""

from __future__ import annotations

from dataclasses import dataclass

import dask.array
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, maximum_filter

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.registration.keypoints import Keypoints, PlanarImage
from napari_neurobridge.registration.slabs import (
    SlabParams,
    merged,
    recording_somata,
    volume_somata,
)
from napari_neurobridge.types import Projection

VOXEL = (2.0, 1.0, 1.0)
SHAPE = (60, 150, 170)
PLACES = np.array(
    [[20.0, 30, 40], [60, 30, 42], [40, 110, 130], [80, 70, 80], [98, 120, 30], [30, 75, 85]]
)


@dataclass(frozen=True)
class _Described:
    found: Keypoints

    def somata(self, least_probability: float) -> Keypoints:
        return self.found.take(self.found.scores > least_probability)


class BrightSpots:
    """Stands for the feature network: the local maxima of an image, scored by their brightness."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def describe(self, image: PlanarImage) -> _Described:
        values = image.values
        self.sizes.append(values.shape)
        peaks = np.argwhere((values == maximum_filter(values, 9)) & (values > 0.05))
        scores = values[tuple(peaks.T)].clip(0, 1)
        return _Described(Keypoints.at(peaks * image.pixel_um, scores=scores))


def volume_of(places_um: np.ndarray, shape=SHAPE, voxel=VOXEL) -> np.ndarray:
    values = np.zeros(shape, dtype=np.float32)
    for place in np.round(places_um / voxel).astype(int):
        values[tuple(place)] = 1.0
    blurred = gaussian_filter(values, [4.0 / size for size in voxel])
    return blurred / blurred.max()


VOLUME = volume_of(PLACES)


def by_place(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(np.round(points).T)]


def test_somata_are_found_where_they_are() -> None:
    found = volume_somata(VOLUME, VOXEL, BrightSpots())
    assert len(found) == len(PLACES)
    np.testing.assert_allclose(by_place(found.positions_um), by_place(PLACES), atol=2.0)
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_axis_that_slabs_are_cut_across_may_be_any(axis: int) -> None:
    order = [axis, *(other for other in range(3) if other != axis)]
    volume = np.moveaxis(VOLUME, 0, axis)
    voxel = tuple(np.array(VOXEL)[np.argsort(order)].tolist())
    found = volume_somata(volume, voxel, BrightSpots(), axis=axis)
    same = volume_somata(VOLUME, VOXEL, BrightSpots()).positions_um
    np.testing.assert_allclose(by_place(found.positions_um[:, order]), by_place(same), atol=1e-9)


def test_pixels_that_are_longer_than_wide_are_squared() -> None:
    voxel = (1.0, 2.0, 0.65)
    places = PLACES[:, [0, 1, 2]]
    volume = volume_of(places, (120, 75, 262), voxel)
    found = volume_somata(volume, voxel, BrightSpots())
    np.testing.assert_allclose(by_place(found.positions_um), by_place(places), atol=2.0)


def test_tiles_find_what_the_whole_shows() -> None:
    extractor = BrightSpots()
    whole = volume_somata(VOLUME, VOXEL, BrightSpots())
    tiled = volume_somata(VOLUME, VOXEL, extractor, params=SlabParams(tile_um=60.0))
    np.testing.assert_allclose(
        by_place(tiled.positions_um), by_place(whole.positions_um), atol=1e-9
    )
    # A tile and its margins on either side.
    assert max(map(max, extractor.sizes)) <= 60 + 2 * 48


class Watched:
    """An array that remembers how much was read of it."""

    def __init__(self, values: np.ndarray, chunks: tuple[int, int, int]) -> None:
        self.values, self.chunks = values, chunks
        self.shape = values.shape
        self.read: list[tuple[int, int]] = []

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        start, stop, _ = key[0].indices(self.shape[0])
        self.read.append((start, stop))
        return self.values[key]


def test_each_chunk_is_read_once_and_few_are_held() -> None:
    watched = Watched(VOLUME, (16, 150, 170))
    volume_somata(watched, VOXEL, BrightSpots())
    assert watched.read == [(0, 16), (16, 32), (32, 48), (48, 60)]


@pytest.mark.parametrize("kind", ["dask", "zarr", "integers"])
def test_other_arrays_give_the_same(kind: str) -> None:
    whole = np.round(VOLUME * 1000).astype(np.uint16)
    arrays = {
        "dask": lambda: dask.array.from_array(VOLUME, chunks=(16, 64, 64)),
        "zarr": lambda: zarr.array(VOLUME, chunks=(7, 64, 64)),
        "integers": lambda: whole,
    }
    scale = 1000.0 if kind == "integers" else 1.0

    class Scaled(BrightSpots):
        def describe(self, image: PlanarImage) -> _Described:
            return super().describe(PlanarImage(image.values / scale, image.pixel_um))

    found = volume_somata(arrays[kind](), VOXEL, Scaled())
    same = volume_somata(VOLUME, VOXEL, BrightSpots())
    np.testing.assert_allclose(by_place(found.positions_um), by_place(same.positions_um), atol=0.05)


def test_what_shows_nothing_holds_no_somata() -> None:
    assert len(volume_somata(np.zeros(SHAPE), VOXEL, BrightSpots())) == 0


def test_one_plane_is_one_slab() -> None:
    found = volume_somata(VOLUME[10:11], VOXEL, BrightSpots())
    assert (found.positions_um[:, 0] == 0).all()
    np.testing.assert_allclose(by_place(found.positions_um)[0, 1:], PLACES[0, 1:], atol=1)


def test_progress_is_told_and_can_cancel() -> None:
    told: list[tuple[int, int]] = []

    def report(done: int, total: int, message: str) -> None:
        told.append((done, total))
        if done == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        volume_somata(VOLUME, VOXEL, BrightSpots(), report=report)
    assert [done for done, _ in told] == [0, 1, 2, 3]
    assert len({total for _, total in told}) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((VOLUME[0], VOXEL), "of an array of shape"),
        ((VOLUME, (0.0, 1.0, 1.0)), "voxel size"),
        ((VOLUME, (np.nan, 1.0, 1.0)), "voxel size"),
        ((VOLUME[:, :10], VOXEL), "too small"),
        ((np.where(VOLUME > 0.9, np.nan, VOLUME), VOXEL), "NaN"),
    ],
)
def test_bad_volumes_are_refused(arguments, words: str) -> None:
    with pytest.raises(InputError, match=words):
        volume_somata(*arguments, BrightSpots())


def test_there_are_three_axes() -> None:
    with pytest.raises(InputError, match="axis 3"):
        volume_somata(VOLUME, VOXEL, BrightSpots(), axis=3)


@pytest.mark.parametrize("name", ["thickness_um", "step_um", "apart_um", "tile_um"])
def test_lengths_are_positive(name: str) -> None:
    with pytest.raises(InputError, match="positive"):
        SlabParams(**{name: 0.0})


@given(
    st.lists(
        st.tuples(*[st.floats(0, 60, width=32)] * 3, st.floats(0.125, 1, width=32)), max_size=25
    ),
    st.integers(0, 2),
)
@settings(max_examples=60, deadline=None)
def test_merging_follows_its_rule(somata, axis: int) -> None:
    values = np.array(somata, dtype=float).reshape(-1, 4)
    found = merged(Keypoints.at(values[:, :3], scores=values[:, 3]), (20.0, 7.0), axis=axis)
    half = np.full(3, 7.0)
    half[axis] = 20.0
    left = values[np.argsort(-values[:, 3], kind="stable")]
    expected = []
    while len(left):
        near = (((left[:, :3] - left[0, :3]) / half) ** 2).sum(axis=1) <= 1
        expected.append([*np.average(left[near, :3], axis=0, weights=left[near, 3]), left[0, 3]])
        left = left[~near]
    expected = np.array(expected).reshape(-1, 4)
    np.testing.assert_allclose(found.positions_um, expected[:, :3], atol=1e-4)
    np.testing.assert_allclose(found.scores, expected[:, 3], rtol=1e-6)


def test_a_recording_shows_what_its_projections_show() -> None:
    steady = np.array([[0.0, 30, 40], [0, 90, 100]])
    rare = np.array([[0.0, 60, 120]])
    frames = np.repeat(volume_of(steady, (1, 120, 150)), 40, axis=0)
    frames[17] = np.maximum(frames[17], volume_of(rare, (1, 120, 150))[0])
    pieces = [frames[:10], frames[10:33], frames[33:]]
    both = recording_somata(pieces, 1.0, BrightSpots())
    everything = np.concatenate([steady, rare])[:, 1:]
    np.testing.assert_allclose(by_place(both.positions_um), by_place(everything), atol=1.0)
    mean = recording_somata(pieces, 1.0, BrightSpots(), projections=(Projection.MEAN,))
    np.testing.assert_allclose(by_place(mean.positions_um), by_place(steady[:, 1:]), atol=1.0)


def test_an_empty_recording_is_refused() -> None:
    with pytest.raises(InputError, match="at least one frame"):
        recording_somata([], 1.0, BrightSpots())
