"""Damaged files give an image or an InputError, never another error."""

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.ome_zarr import write_ome_zarr
from napari_neurobridge.io.volumes import inspect_image, open_volume

STACK = np.arange(3 * 8 * 9, dtype=np.uint16).reshape(3, 8, 9)
KINDS = {
    "ome": {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 1.0}},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX", "unit": "um"}},
    "compressed": {"compression": "zlib", "metadata": {"axes": "ZYX"}},
    "scanimage": {
        "metadata": None,
        "software": "SI.hChannels.channelSave = 1\nSI.hStackManager.numSlices = 3\n"
        "SI.hRoiManager.imagingFovUm = [-1 -1;1 -1;1 1;-1 1]",
    },
}


def _use(path):
    try:
        inspect_image(path)
        volume = open_volume(path, name="a", voxel_size_um=(1, 1, 1))
        if volume.levels[0].size < 10_000:
            volume.read((0, 0, 0), volume.shape)
    except InputError:
        pass


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_tiff(tmp_path, kind, data):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", **KINDS[kind])
    content = bytearray(path.read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[position] = data.draw(st.integers(0, 255))
    kept = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    path.write_bytes(content[:kept])
    _use(path)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["axes", "datasets", "path", "type", "scale", "coordinateTransformations", "name"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(replacement=_json, key=st.sampled_from(["axes", "datasets", "multiscales", "ome"]))
def test_ome_zarr_metadata(tmp_path, replacement, key):
    path = write_ome_zarr(tmp_path / "a.zarr", STACK, voxel_size_um=(1, 1, 1))
    group = zarr.open_group(path)
    ome = dict(group.attrs["ome"])
    if key == "ome":
        ome = replacement
    elif key == "multiscales":
        ome["multiscales"] = replacement
    else:
        ome["multiscales"] = [{**ome["multiscales"][0], key: replacement}]
    group.attrs["ome"] = ome
    _use(path)
