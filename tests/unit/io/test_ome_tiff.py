import numpy as np
import pytest
import tifffile

from napari_neurobridge.io import ome_tiff
from napari_neurobridge.io.ome_tiff import write_ome_tiff


@pytest.mark.parametrize(("limit", "big"), [(10**6, False), (10, True)])
def test_planes_make_an_image_with_steps_that_grows_beyond_4_gb_where_it_must(
    tmp_path, monkeypatch, limit, big
):
    monkeypatch.setattr(ome_tiff, "_CLASSIC_BYTES", limit)
    image = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)
    path = tmp_path / "image.ome.tif"
    write_ome_tiff(
        path,
        iter(image),
        axes="ZYX",
        shape=image.shape,
        dtype=image.dtype,
        step_um={"Z": 2.0, "Y": 1.0, "X": 0.5},
    )
    with tifffile.TiffFile(path) as tif:
        assert tif.is_bigtiff == big
        assert tif.series[0].axes == "ZYX"
        assert np.array_equal(tif.asarray(), image)
        assert 'PhysicalSizeX="0.5" PhysicalSizeXUnit="µm"' in tif.ome_metadata
