"""Reading, detection and crops on real volumes; thresholds lie a little below what was measured."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import KDTree

from napari_neurobridge.detection.dog import detect_somata
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import extract_crops
from napari_neurobridge.io.volumes import inspect_image, open_volume
from napari_neurobridge.spaces import Orientation

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


def _silver(shared_data, side):
    pairs = pd.read_csv(shared_data / "easi_fish" / "silver_pairs.csv")
    return pairs[[f"{side}_{axis}_um" for axis in "zyx"]].to_numpy()


@pytest.mark.parametrize(("side", "n_planes"), [("fixed", 149), ("moving", 144)])
def test_voxel_size_and_shape(shared_data, side, n_planes):
    info = inspect_image(shared_data / "easi_fish" / f"{side}.tif")
    assert (info.format, info.axes, info.shape) == ("imagej", "zyx", (n_planes, 241, 456))
    assert info.voxel_size_um == pytest.approx((1.68, 1.84, 1.84), rel=1e-4)


def test_unknown_voxel_size_is_asked_for(shared_data):
    path = shared_data / "most_soma" / "volume.tif"
    assert inspect_image(path).voxel_size_um is None
    with pytest.raises(InputError, match="voxel size"):
        open_volume(path, name="most")


@pytest.mark.parametrize(("side", "recall"), [("fixed", 0.85), ("moving", 0.8)])
def test_cells_of_the_silver_pairs_are_found(shared_data, side, recall):
    volume = open_volume(shared_data / "easi_fish" / f"{side}.tif", name=side)
    detection = detect_somata(volume)
    distance, _ = KDTree(detection.centers_um).query(_silver(shared_data, side))
    assert (distance < 6).mean() >= recall
    # Many more cells than pairs are there, but no more than fit.
    assert 1000 < len(detection) < 8000


@pytest.mark.parametrize("orientation", [Orientation(), Orientation(axes="+y-x+z", angle_deg=20)])
def test_crops_are_finite_and_show_the_cell(shared_data, orientation):
    volume = open_volume(shared_data / "easi_fish" / "fixed.tif", name="fixed")
    centers = _silver(shared_data, "fixed")[::25]
    crops = extract_crops(volume, centers, linear=orientation.linear())
    assert crops.shape == (len(centers), 150, 150)
    assert np.isfinite(crops).all()
    assert (crops.max(axis=(1, 2)) == 1).all()
    middle = crops[:, 70:80, 70:80].mean(axis=(1, 2))
    assert (middle > crops.mean(axis=(1, 2))).mean() > 0.9


def test_cleared_cortex_agrees_with_another_program(shared_data):
    folder = shared_data / "cleared_cortex"
    detection = detect_somata(open_volume(folder / "signal.tif", name="signal"))
    points = pd.read_csv(folder / "somata.csv")[["z_um", "y_um", "x_um"]].to_numpy()
    # The points are a few planes of 5 µm off in z, see the README of the data.
    relative = np.array([15.0, 8.0, 8.0])
    distance, _ = KDTree(detection.centers_um / relative).query(points / relative)
    assert (distance < 1).mean() >= 0.8
