import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io import crops as crops_module
from napari_neurobridge.io.crops import DARKEST, CropSpec, extract_crops, normalize_crops
from napari_neurobridge.io.volumes import Volume
from napari_neurobridge.spaces import Orientation

SMALL = CropSpec(size_um=20.0, pixels=25, slab_um=6.0)
TILTED = np.array([[0.9, 0.1, 0.2], [-0.1, 0.95, 0.2], [0.1, -0.05, 1.1]])
LINEARS = {
    "identity": np.eye(3),
    "permuted": Orientation(axes="+y+z-x").linear(),
    "mirrored, rotated, expanded": Orientation(axes="-x+z-y", angle_deg=33, expansion=1.2).linear(),
    "tilted": TILTED,
}


@pytest.fixture
def volume():
    values = np.random.default_rng(0).random((20, 34, 40), dtype=np.float32)
    return Volume([values], name="a", voxel_size_um=(2.0, 1.3, 0.8))


def _oracle(volume, center_um, linear, spec):
    """Sample point by point with scipy, outside the outermost voxels' faces being NaN."""
    image = np.asarray(volume.levels[0])
    frame = np.stack(
        np.meshgrid(spec.depths_um(), spec.offsets_um(), spec.offsets_um(), indexing="ij")
    )
    points = np.asarray(center_um)[:, None] + linear @ frame.reshape(3, -1)
    voxels = points / np.asarray(volume.voxel_size_um)[:, None]
    values = map_coordinates(image, voxels, order=1, mode="nearest")
    limits = np.asarray(image.shape)[:, None] - 0.5
    inside = ((voxels >= -0.5) & (voxels <= limits)).all(axis=0)
    values = np.where(inside, values, -np.inf).reshape(frame.shape[1:]).max(axis=0)
    return normalize_crops(values, np.isfinite(values))


@pytest.mark.parametrize("name", LINEARS)
@pytest.mark.parametrize("budget", [2**25, 300])
def test_crops_agree_with_sampling_point_by_point(volume, name, budget, monkeypatch):
    # A small budget cuts single crops into parts; nothing may change.
    monkeypatch.setattr(crops_module, "_PATCH_VOXELS", budget)
    rng = np.random.default_rng(1)
    centers = rng.uniform(-0.1, 1.1, (12, 3)) * volume.extent_um
    crops = extract_crops(volume, centers, linear=LINEARS[name], spec=SMALL)
    for crop, center in zip(crops, centers, strict=True):
        assert np.allclose(crop, _oracle(volume, center, LINEARS[name], SMALL), atol=2e-4)


def test_patches_stay_within_the_budget(volume, monkeypatch):
    monkeypatch.setattr(crops_module, "_PATCH_VOXELS", 1000)
    read, original = [], Volume.read

    def recording_read(self, start, stop):
        read.append(np.prod(np.subtract(stop, start)))
        return original(self, start, stop)

    monkeypatch.setattr(Volume, "read", recording_read)
    extract_crops(volume, np.random.default_rng(0).uniform(0, 30, (9, 3)), spec=SMALL)
    assert max(read) <= 1000


def test_neighbours_share_reads(monkeypatch):
    volume = Volume([np.ones((20, 400, 400), np.float32)], name="a", voxel_size_um=(1, 1, 1))
    reads, original = [], Volume.read
    monkeypatch.setattr(
        Volume, "read", lambda self, a, b: reads.append((a, b)) or original(self, a, b)
    )
    cluster = np.array([[10, 50, 50], [10, 52, 51], [10, 350, 350], [11, 51, 53.0]])
    extract_crops(volume, cluster, spec=SMALL)
    assert len(reads) == 2


@pytest.mark.parametrize("name", LINEARS)
def test_a_blob_appears_where_the_frame_puts_it(name):
    """A blob offset by (depth, row, column) in the two-photon frame, in any volume."""
    voxel = np.array([2.0, 1.0, 0.5])
    shape = (40, 80, 160)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1) * voxel
    center, offset = np.array([40.0, 40.0, 40.0]), np.array([2.0, -9.0, 6.0])
    blob = center + LINEARS[name] @ offset
    image = np.exp(-((grid - blob) ** 2).sum(axis=-1) / (2 * 2.0**2)).astype(np.float32)
    volume = Volume([image], name="a", voxel_size_um=tuple(voxel))
    spec = CropSpec(size_um=40.0, pixels=81, slab_um=10.0)
    (crop,) = extract_crops(volume, center, linear=LINEARS[name], spec=spec)
    weight = np.where(crop > 0.5, crop, 0)
    row, column = (np.indices(crop.shape) * weight).sum(axis=(1, 2)) / weight.sum()
    assert row == pytest.approx(40 + offset[1] / spec.pixel_um, abs=1.0)
    assert column == pytest.approx(40 + offset[2] / spec.pixel_um, abs=1.0)


def test_outside_is_padding_not_an_error(volume):
    corner, outside = extract_crops(volume, [[0, 0, 0], [500, 0, 0]], spec=SMALL)
    assert corner[12:, 12:].max() == 1
    assert (corner[:12] == 0).all()
    assert (corner[:, :12] == 0).all()
    assert (outside == 0).all()


def test_padding_takes_no_part_in_the_contrast(volume):
    bright = Volume(
        [np.asarray(volume.levels[0]) + 1000], name="a", voxel_size_um=volume.voxel_size_um
    )
    same = extract_crops(volume, [[0, 0, 0]], spec=SMALL)
    assert np.allclose(extract_crops(bright, [[0, 0, 0]], spec=SMALL), same, atol=1e-3)


@pytest.mark.parametrize("name", ["identity", "tilted"])
def test_a_plane_is_sampled_whatever_the_depth(name):
    plane = np.random.default_rng(0).random((1, 60, 60), dtype=np.float32)
    volume = Volume([plane], name="a", voxel_size_um=(1.0, 0.8, 0.8))
    spec = CropSpec(size_um=16.0, pixels=20)
    near = extract_crops(volume, [[0, 20, 20]], linear=LINEARS[name], spec=spec)
    far = extract_crops(volume, [[75, 20, 20]], linear=LINEARS[name], spec=spec)
    assert near.max() == 1
    assert np.array_equal(near, far)


def test_standard_crop_pixels(volume):
    spec = CropSpec()
    assert spec.pixel_um == pytest.approx(0.8)
    assert spec.offsets_um()[0] == pytest.approx(-74.5 * 0.8)
    assert spec.depths_um()[[0, -1]].tolist() == [-15.0, 15.0]
    assert np.diff(spec.depths_um()).max() <= 2.0
    assert extract_crops(volume, np.zeros((0, 3))).shape == (0, 150, 150)
    assert extract_crops(volume, [[10, 10, 10]]).shape == (1, 150, 150)


def test_digest_follows_every_field():
    variants = [
        CropSpec(),
        CropSpec(size_um=100),
        CropSpec(pixels=100),
        CropSpec(slab_um=20),
        CropSpec(slab_step_um=1.0),
    ]
    assert len({spec.digest() for spec in variants}) == len(variants)
    assert CropSpec().digest() == CropSpec().digest()


def test_nan_pixels_are_refused():
    image = np.zeros((4, 30, 30), np.float32)
    image[2, 15, 15] = np.nan
    volume = Volume([image], name="fmost", voxel_size_um=(1, 1, 1))
    with pytest.raises(InputError, match="fmost holds NaN"):
        extract_crops(volume, [[2, 15, 15]], spec=SMALL)
    with pytest.raises(InputError, match="NaN"):
        extract_crops(volume, [[2, np.nan, 15]], spec=SMALL)


def test_cancelling(volume):
    def cancel(done, total, message):
        assert total == 3
        raise Cancelled

    with pytest.raises(Cancelled):
        extract_crops(volume, np.full((3, 3), 10.0), spec=SMALL, report=cancel)


@given(
    seed=st.integers(0, 1000),
    gain=st.floats(0.01, 1000),
    offset=st.floats(-1000, 1000),
)
def test_normalized_crops_do_not_depend_on_gain_and_offset(seed, gain, offset):
    crops = np.random.default_rng(seed).random((2, 12, 12))
    normalized = normalize_crops(crops)
    assert normalized.dtype == np.float32
    assert normalized.min() == DARKEST
    assert normalized.max() == 1
    assert np.allclose(normalize_crops(crops * gain + offset), normalized, atol=0.02)


def test_crops_without_contrast_or_pixels_are_zero():
    assert (normalize_crops(np.full((2, 5, 5), 7.0)) == 0).all()
    inside = np.zeros((1, 5, 5), bool)
    assert (normalize_crops(np.random.default_rng(0).random((1, 5, 5)), inside) == 0).all()


def test_normalize_refuses_nan_only_inside():
    crop = np.random.default_rng(0).random((1, 5, 5))
    crop[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        normalize_crops(crop)
    assert np.isfinite(normalize_crops(crop, np.isfinite(crop))).all()


def test_crops_of_several_frames_are_those_of_each_frame_alone(volume):
    centers = np.random.default_rng(2).uniform(0, 1, (4, 3)) * volume.extent_um
    linears = np.array(list(LINEARS.values()))
    together = extract_crops(volume, centers, linear=linears, spec=SMALL)
    for crop, center, linear in zip(together, centers, linears, strict=True):
        assert np.array_equal(crop, extract_crops(volume, center, linear=linear, spec=SMALL)[0])


def test_one_frame_for_each_crop_is_the_one_frame_of_all(volume):
    centers = np.random.default_rng(3).uniform(0, 1, (5, 3)) * volume.extent_um
    shared = extract_crops(volume, centers, linear=TILTED, spec=SMALL)
    each = np.repeat(TILTED[None], 5, axis=0)
    assert np.array_equal(extract_crops(volume, centers, linear=each, spec=SMALL), shared)


@pytest.mark.parametrize(
    "linear", [np.eye(2), np.zeros((4, 3, 3)), np.full((3, 3), np.nan), np.zeros((2, 2, 3, 3))]
)
def test_frames_of_another_shape_or_number_are_refused(volume, linear):
    with pytest.raises(InputError, match="finite \\(3, 3\\) matrix"):
        extract_crops(volume, [[5, 5, 5], [6, 6, 6]], linear=linear, spec=SMALL)


def test_a_crop_says_itself_which_of_its_pixels_lie_outside():
    rng = np.random.default_rng(1)
    inside = rng.random((3, 20, 20)) < 0.7
    crops = normalize_crops(rng.integers(0, 3, inside.shape), inside)
    assert np.array_equal(crops > 0, inside)
