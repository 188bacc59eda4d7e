import json

import numpy as np
import pytest
import zarr

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.ome_zarr import OmeZarrWriter, open_ome_zarr, write_ome_zarr
from napari_neurobridge.io.pyramid import downsample
from napari_neurobridge.io.volumes import inspect_image, open_volume


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 4000, (13, 70, 91)).astype(np.uint16)


def _write_v04(path, image, *, axes, scale, unit="micrometer", translation=None):
    group = zarr.create_group(path, zarr_format=2)
    group.create_array("s0", data=image)
    transforms = [{"type": "scale", "scale": scale}]
    if translation:
        transforms.append({"type": "translation", "translation": translation})
    kinds = {"t": "time", "c": "channel"}
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [
                {"name": a, "type": kinds.get(a, "space"), **({"unit": unit} if unit else {})}
                for a in axes
            ],
            "datasets": [{"path": "s0", "coordinateTransformations": transforms}],
        }
    ]
    return path


def test_round_trip_with_pyramid(tmp_path, image):
    path = write_ome_zarr(
        tmp_path / "brain.ome.zarr",
        image,
        voxel_size_um=(2.0, 0.65, 0.65),
        chunks=(4, 32, 32),
        levels=4,
    )
    volume = open_volume(path, name="fmost")
    assert volume.voxel_size_um == (2.0, 0.65, 0.65)
    assert np.array_equal(volume.read((0, 0, 0), image.shape), image.astype(np.float32))
    expected = image
    for index, factors in enumerate([(1, 2, 2), (1, 2, 2), (2, 2, 2)], start=1):
        expected = downsample(expected, factors)
        assert np.array_equal(volume.levels[index][...], expected)
    assert volume.level_scales_um[3] == pytest.approx((4.0, 5.2, 5.2))
    assert volume.level_offsets_um[3] == pytest.approx((1.0, 2.275, 2.275))


@pytest.mark.parametrize("step", [1, 3, 5, 13])
def test_slabs_do_not_matter(tmp_path, image, step):
    with OmeZarrWriter(
        tmp_path / "a.zarr", voxel_size_um=(1, 1, 1), chunks=(5, 32, 32), levels=3
    ) as writer:
        for start in range(0, len(image), step):
            writer.write(image[start : start + step])
    source = open_ome_zarr(tmp_path / "a.zarr")
    once = downsample(image, (2, 2, 2))
    assert np.array_equal(source.levels[0][:], image)
    assert np.array_equal(source.levels[1][:], once)
    assert np.array_equal(source.levels[2][:], downsample(once, (2, 2, 2)))


def test_written_metadata_are_version_05(tmp_path, image):
    write_ome_zarr(tmp_path / "a.ome.zarr", image, voxel_size_um=(2.0, 0.5, 0.5), levels=2)
    attributes = json.loads((tmp_path / "a.ome.zarr" / "zarr.json").read_text())["attributes"]
    assert attributes["ome"]["version"] == "0.5"
    (multiscale,) = attributes["ome"]["multiscales"]
    assert [axis["unit"] for axis in multiscale["axes"]] == ["micrometer"] * 3
    scale, translation = multiscale["datasets"][1]["coordinateTransformations"]
    assert scale["scale"] == [2.0, 1.0, 1.0]
    assert translation["translation"] == [0.0, 0.25, 0.25]


def test_failure_leaves_no_folder(tmp_path, image):
    with (
        pytest.raises(RuntimeError),
        OmeZarrWriter(tmp_path / "a.zarr", voxel_size_um=(1, 1, 1)) as writer,
    ):
        writer.write(image)
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_planes_of_another_shape_or_none(tmp_path, image):
    with pytest.raises(InputError, match="must be"):
        write_ome_zarr(tmp_path / "a.zarr", [image[0], image[1, :-1]], voxel_size_um=(1, 1, 1))
    with pytest.raises(InputError, match="no planes"):
        write_ome_zarr(tmp_path / "a.zarr", [], voxel_size_um=(1, 1, 1))
    assert list(tmp_path.iterdir()) == []


def test_version_04_with_channel_unit_and_translation(tmp_path, image):
    stacked = np.stack([image, image + 1])[None]
    path = _write_v04(
        tmp_path / "a.zarr",
        stacked,
        axes="tczyx",
        scale=[1, 1, 2000, 500, 500],
        unit="nanometer",
        translation=[0, 0, 5000, 0, 0],
    )
    info = inspect_image(path)
    assert (info.axes, info.channels, info.format) == ("tczyx", 2, "ome-zarr")
    volume = open_volume(path, name="a", channel=1)
    assert volume.voxel_size_um == pytest.approx((2.0, 0.5, 0.5))
    # The dataset's own space starts at its first voxel, whatever the file's origin is.
    assert volume.level_offsets_um == ((0.0, 0.0, 0.0),)
    assert np.array_equal(volume.read((2, 3, 4), (5, 6, 7)), image[2:5, 3:6, 4:7] + 1.0)


def test_no_unit_is_no_voxel_size(tmp_path, image):
    path = _write_v04(tmp_path / "a.zarr", image, axes="zyx", scale=[2, 0.5, 0.5], unit=None)
    assert inspect_image(path).voxel_size_um is None
    with pytest.raises(InputError, match="voxel size"):
        open_volume(path, name="a")
    assert open_volume(path, name="a", voxel_size_um=(2, 1, 1)).voxel_size_um == (2, 1, 1)


def test_not_an_image(tmp_path):
    zarr.create_group(tmp_path / "empty.zarr")
    with pytest.raises(InputError, match="OME-Zarr"):
        open_volume(tmp_path / "empty.zarr", name="a")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder"):
        open_volume(tmp_path / "folder", name="a")


def test_damaged_metadata(tmp_path, image):
    path = write_ome_zarr(tmp_path / "a.zarr", image, voxel_size_um=(1, 1, 1))
    (path / "zarr.json").write_text("{")
    with pytest.raises(InputError, match="OME-Zarr"):
        open_volume(path, name="a")


def test_damaged_chunk(tmp_path, image):
    path = write_ome_zarr(tmp_path / "a.zarr", image, voxel_size_um=(1, 1, 1))
    chunk = next(file for file in (path / "0" / "c").rglob("*") if file.is_file())
    chunk.write_bytes(b"not compressed")
    with pytest.raises(InputError, match="damaged"):
        open_volume(path, name="a").read((0, 0, 0), image.shape)


def test_collection_of_bioformats2raw(tmp_path, image):
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    _write_v04(tmp_path / "a.zarr" / "0", image, axes="zyx", scale=[1, 1, 1])
    assert open_volume(tmp_path / "a.zarr", name="a").shape == image.shape
