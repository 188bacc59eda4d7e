import numpy as np
import pytest
import tifffile

from napari_neurobridge.benchmarks.real_pairs import rank_partners, read_real_pairs
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import DARKEST
from napari_neurobridge.io.tables import write_points, write_rows


def write_folder(folder, *, pairs):
    """Write discs on dark planes: three in vivo, four ex vivo, at twice the pixel size."""
    here = np.array([[0, 40, 40], [0, 40, 100], [0, 100, 60]], float)
    there = np.vstack([here[::-1], [[0, 110, 110]]])
    for name, points, side in (("in_vivo", here, 1.0), ("ex_vivo", there, 2.0)):
        grid = np.indices((int(150 / side), int(150 / side))).transpose(1, 2, 0) * side
        near = np.linalg.norm(grid[:, :, None] - points[:, 1:], axis=-1).min(axis=-1)
        image = (1000 * (near < 8)).astype(np.uint16)
        tifffile.imwrite(folder / f"{name}.tif", image, metadata={"axes": "YX"})
        write_points(folder / f"{name}.csv", [f"{name}-{i}" for i in range(len(points))], points)
    write_rows(folder / "silver.csv", ["two_photon_uid", "fmost_uid"], pairs)


def test_the_cells_of_both_planes_are_cropped_where_the_tables_say(tmp_path):
    write_folder(tmp_path, pairs=[("in_vivo-0", "ex_vivo-2"), ("in_vivo-2", "ex_vivo-0")])
    pairs = read_real_pairs(tmp_path, pixel_um=(1.0, 2.0))
    assert pairs.two_photon.shape == (2, 150, 150)
    assert pairs.fmost.shape == (4, 150, 150)
    assert pairs.partner.tolist() == [2, 0]
    # A disc of 8 µm is 10 pixels of either crop around its middle.
    for crops in (pairs.two_photon, pairs.fmost):
        assert (crops[:, 68:82, 75] > 0.5).all()
        assert (crops[:, [58, 92], 75] == DARKEST).all()


def test_without_pairs_it_says_so(tmp_path):
    write_folder(tmp_path, pairs=[])
    with pytest.raises(InputError, match="no rows"):
        read_real_pairs(tmp_path, pixel_um=(1.0, 2.0))


def test_without_an_image_it_says_so(tmp_path):
    write_folder(tmp_path, pairs=[("in_vivo-0", "ex_vivo-2")])
    (tmp_path / "ex_vivo.tif").unlink()
    with pytest.raises(InputError, match=r"ex_vivo\.tif"):
        read_real_pairs(tmp_path, pixel_um=(1.0, 2.0))


def test_ranks_are_among_all_and_among_those_near_the_partner():
    gallery = np.eye(4, dtype=np.float32)
    # The first query likes row 3 best, which is far from its partner 0; the second its own.
    queries = np.array([[0.6, 0.0, 0.0, 0.8], [0.0, 1.0, 0.0, 0.0]], np.float32)
    places = np.array([[0, 0, 0], [0, 0, 10], [0, 0, 20], [0, 0, 90]], float)
    ranks = rank_partners(queries, gallery, np.array([0, 1]), places)
    assert ranks.n_near.tolist() == [3, 3]
    assert ranks.among_all.tolist() == [2, 1]
    assert ranks.among_near.tolist() == [1, 1]
    figures = {name: values.tolist() for name, values in ranks.figures().items()}
    assert figures == {
        "top1": [0, 1],
        "top1_53": [0, 1],
        "top1_40um": [1, 1],
        "mrr": [0.5, 1],
    }


def test_a_tie_counts_against_the_partner():
    same = np.ones((3, 1), np.float32)
    ranks = rank_partners(same[:1], same, np.array([1]), np.zeros((3, 3)))
    assert ranks.among_all.tolist() == [3]
