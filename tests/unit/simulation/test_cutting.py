import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from napari_neurobridge.io.crops import CropSpec, extract_crops, normalize_crops
from napari_neurobridge.io.ome_zarr import write_ome_zarr
from napari_neurobridge.io.volumes import open_volume
from napari_neurobridge.simulation import cutting
from napari_neurobridge.simulation.cutting import crop_reach_um, cut_crops, cut_posed_crops
from napari_neurobridge.simulation.render import Box

SPEC = CropSpec(size_um=24.0, pixels=30, slab_um=9.0)
BOX = Box((-3, 10, 7), (20, 70, 60), (1.5, 0.9, 1.2))
CENTERS = torch.tensor(
    [[10.0, 40.0, 40.0], [9.31, 33.77, 48.02], [12.2, 50.9, 36.6], [10.0, 40.0, 40.0]]
)
NO_BORDER = torch.full((len(CENTERS), 2, 3), torch.inf)


def image() -> torch.Tensor:
    return torch.rand(BOX.shape, generator=torch.Generator().manual_seed(0))


def samples(center: np.ndarray) -> np.ndarray:
    """Return the trilinear samples of a crop's slab, (planes, pixels, pixels)."""
    axes = (SPEC.depths_um(), SPEC.offsets_um(), SPEC.offsets_um())
    places = [
        (c + axis) / voxel - start
        for c, axis, voxel, start in zip(center, axes, BOX.voxel_um, BOX.start, strict=True)
    ]
    return map_coordinates(image().numpy(), np.meshgrid(*places, indexing="ij"), order=1)


def test_a_crop_is_the_maximum_of_trilinear_samples():
    crops, inside = cut_crops(image(), BOX, CENTERS, NO_BORDER, SPEC)
    assert crops.shape == inside.shape == (4, 30, 30)
    assert inside.all()
    for crop, center in zip(crops.numpy(), CENTERS.double().numpy(), strict=True):
        np.testing.assert_allclose(crop, samples(center).max(axis=0), atol=2e-5)


def test_borders_hide_pixels_and_planes():
    reach = NO_BORDER.clone()
    reach[0, 0] = torch.tensor([2.0, torch.inf, 5.0])
    reach[0, 1] = torch.tensor([torch.inf, 7.0, torch.inf])
    crops, inside = cut_crops(image(), BOX, CENTERS, reach, SPEC)
    depths, offsets = SPEC.depths_um(), SPEC.offsets_um()
    seen = (offsets[:, None] <= 7.0) & (offsets[None] >= -5.0)
    assert np.array_equal(inside[0].numpy(), seen)
    left = samples(CENTERS[0].double().numpy())[depths >= -2.0].max(axis=0)
    np.testing.assert_allclose(crops[0].numpy(), np.where(seen, left, 0), atol=2e-5)
    # A border of one crop is none of another, at the same place too.
    assert inside[1:].all()
    np.testing.assert_allclose(
        crops[3].numpy(), samples(CENTERS[3].double().numpy()).max(axis=0), atol=2e-5
    )


def test_a_crop_beyond_all_borders_is_empty():
    reach = torch.full((4, 2, 3), -torch.inf)
    crops, inside = cut_crops(image(), BOX, CENTERS, reach, SPEC)
    assert not inside.any()
    assert (crops == 0).all()


@pytest.mark.parametrize("together", [1, 3, 100])
def test_how_many_are_cut_at_once_makes_no_difference(monkeypatch, together):
    usual = cut_crops(image(), BOX, CENTERS, NO_BORDER, SPEC)[0]
    monkeypatch.setattr(cutting, "_CROPS_AT_ONCE", together)
    torch.testing.assert_close(cut_crops(image(), BOX, CENTERS, NO_BORDER, SPEC)[0], usual)


def test_the_reach_is_that_of_the_outermost_samples():
    assert crop_reach_um(SPEC) == pytest.approx((4.5, 11.6, 11.6))
    assert crop_reach_um(CropSpec(slab_um=0.0))[0] == 0.0


def test_a_crop_is_the_one_that_is_extracted_from_a_file(tmp_path):
    """Also where the crop leaves the volume, which is a border half a voxel from the last one."""
    counts = (1000 * image()).round()
    voxel = torch.tensor(BOX.voxel_um)
    write_ome_zarr(
        tmp_path / "a.ome.zarr", counts.numpy().astype(np.uint16), voxel_size_um=BOX.voxel_um
    )
    volume = open_volume(tmp_path / "a.ome.zarr", name="two_photon")
    # Those of a file start at the first voxel.
    centers = torch.tensor([[14.0, 30.0, 35.0], [2.6, 20.0, 66.1], [25.0, 5.05, 4.0]])
    stored = extract_crops(volume, centers.double().numpy(), spec=SPEC)
    pad = 16
    padded = torch.nn.functional.pad(counts[None, None], 6 * [pad], mode="replicate")[0, 0]
    z, y, x = padded.shape
    reach = torch.stack(
        [centers + 0.5 * voxel, (torch.tensor(BOX.shape) - 0.5) * voxel - centers], dim=1
    )
    crops, inside = cut_crops(
        padded, Box((-pad, -pad, -pad), (z, y, x), BOX.voxel_um), centers, reach, SPEC
    )
    assert inside[0].all()
    assert not inside[1].all() and not inside[2].all()
    direct = normalize_crops(crops.numpy(), inside.numpy())
    np.testing.assert_allclose(stored, direct, atol=1e-4)


def test_a_pose_that_turns_nothing_cuts_the_usual_crop():
    reach = NO_BORDER.clone()
    reach[0, 0] = torch.tensor([2.0, torch.inf, 5.0])
    reach[1, 1] = torch.tensor([torch.inf, 7.0, torch.inf])
    usual, seen = cut_crops(image(), BOX, CENTERS, reach, SPEC)
    posed, inside = cut_posed_crops(
        image(), BOX, CENTERS, reach, SPEC, torch.eye(3).repeat(4, 1, 1)
    )
    torch.testing.assert_close(posed, usual, atol=2e-4, rtol=0)
    assert torch.equal(inside, seen)


def test_a_posed_crop_is_the_maximum_of_samples_along_its_own_axes():
    """Borders stay those of the image, however the crop lies in it."""
    frame = Rotation.from_euler("zyx", (35, 8, -6), degrees=True).as_matrix()
    reach = NO_BORDER.clone()
    reach[0, 0, 1], reach[0, 1, 2] = 4.0, 6.0
    axes = (SPEC.depths_um(), SPEC.offsets_um(), SPEC.offsets_um())
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ frame.T
    center = CENTERS[0].double().numpy()
    places = ((center + offsets) / BOX.voxel_um - BOX.start).transpose(3, 0, 1, 2)
    values = map_coordinates(image().numpy(), places, order=1, mode="nearest")
    seen = (offsets[..., 1] >= -4.0) & (offsets[..., 2] <= 6.0)
    expected = np.where(seen, values, -np.inf).max(axis=0)
    frames = torch.from_numpy(frame).float().repeat(4, 1, 1)
    crops, inside = cut_posed_crops(image(), BOX, CENTERS, reach, SPEC, frames)
    agree = inside[0].numpy() == seen.any(axis=0)
    assert agree.mean() > 0.99  # single precision decides at the very border
    both = agree & inside[0].numpy()
    assert 0.2 < both.mean() < 0.9
    np.testing.assert_allclose(crops[0].numpy()[both], expected[both], atol=2e-3)
    assert (crops[0][~inside[0]] == 0).all()
