"""Components of CaImAn, in files laid out as it saves them."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from scipy import sparse

from fixtures.rois import components, disks, write_caiman
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.rois.read import RoiReading, read_rois
from napari_neurobridge.io.rois.suite2p import Kept

SHAPE = (40, 60)
MASKS = disks([(10, 12), (30, 45), (20, 30)], 5, SHAPE)


def test_components_lie_where_their_pixels_are(tmp_path):
    found = read_rois(write_caiman(tmp_path / "cnm.hdf5", MASKS, SHAPE))
    assert [roi.uid for roi in found.rois] == ["cnmf-00000", "cnmf-00001", "cnmf-00002"]
    assert found.shape == SHAPE
    for roi, (y, x) in zip(found.rois, MASKS, strict=True):
        # One pixel of each holds too little light to belong to the cell.
        assert roi.center_px == pytest.approx([0, y[1:].mean(), x[1:].mean()])
        assert roi.size_px == len(y) - 1


def test_components_that_were_put_aside_stay_there(tmp_path):
    path = write_caiman(tmp_path / "cnm.hdf5", MASKS, SHAPE, kept=[0, 2])
    found = read_rois(path)
    assert [roi.index for roi in found.rois] == [0, 2]
    assert (found.kept_by, found.n_in_file, found.index_base) == ("idx_components", 3, 0)
    assert len(read_rois(path, RoiReading(Kept(every=True))).rois) == 3


def test_a_sparse_matrix_needs_the_shape_of_its_image(tmp_path):
    path = tmp_path / "A.npz"
    for matrix in (components(MASKS, SHAPE), components(MASKS, SHAPE).tocsr()):
        sparse.save_npz(path, matrix)
        found = read_rois(path, image_shape=SHAPE)
        assert [roi.center_px[1:].round().tolist() for roi in found.rois] == [
            [10, 12],
            [30, 45],
            [20, 30],
        ]
    with pytest.raises(InputError, match="does not say the shape of its image"):
        read_rois(path)
    with pytest.raises(InputError, match="have 2400 pixels, and an image of 10 × 10 has 100"):
        read_rois(path, image_shape=(10, 10))


def test_bad_files_are_refused_in_a_sentence(tmp_path):
    path = tmp_path / "cnm.hdf5"

    def refusal() -> str:
        with pytest.raises(InputError) as caught:
            read_rois(path, image_shape=SHAPE)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    path.write_bytes(b"no HDF5")
    assert "damaged, not complete" in refusal()
    write_caiman(path, MASKS, SHAPE)
    path.write_bytes(path.read_bytes()[:2000])
    assert "damaged, not complete" in refusal()
    with h5py.File(path, "w") as file:
        file["other"] = 1
    assert "holds no components" in refusal()
    write_caiman(path, MASKS, SHAPE, dims=(40, 60, 5))
    assert "components of a volume" in refusal()
    write_caiman(path, MASKS, SHAPE, kept=[7])
    assert "components that it does not have" in refusal()
    write_caiman(path, MASKS, SHAPE, kept=[])
    assert "holds no cell" in refusal()
    write_caiman(path, MASKS, SHAPE)
    with h5py.File(path, "r+") as file:
        file["estimates/A/indices"][0] = 10**6
    assert "no whole matrix" in refusal()
    with h5py.File(path, "w") as file:
        for name in ("data", "indices", "indptr", "shape"):
            # A terabyte of zeros, in a kilobyte.
            file.create_dataset(f"estimates/A/{name}", (2**37,), "f8", chunks=(2**16,))
    assert "unpacks to more" in refusal()


def test_bad_npz_are_refused_in_a_sentence(tmp_path):
    path = tmp_path / "A.npz"
    for write in (
        lambda: path.write_bytes(b"PK no zip"),
        lambda: np.savez(path, data=np.ones(3)),
        lambda: np.savez(path, data=np.array([{}], dtype=object), shape=np.array([1, 1])),
        lambda: sparse.save_npz(path, components(MASKS, SHAPE).tocoo()),
    ):
        write()
        with pytest.raises(InputError, match=r"A\.npz") as caught:
            read_rois(path, image_shape=SHAPE)
        assert "\n" not in str(caught.value)
