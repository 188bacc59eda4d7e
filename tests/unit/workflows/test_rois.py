"""Regions of other programs become somata, once, where they lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from roifile import ImagejRoi, roiwrite

from fixtures.rois import disks, write_caiman, write_suite2p
from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.rois.read import RoiReading
from napari_neurobridge.io.rois.suite2p import Kept
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import UndoScope
from napari_neurobridge.project.log.merging import merge
from napari_neurobridge.project.outlines import outlines_of
from napari_neurobridge.types import Role, SomaSource
from napari_neurobridge.workflows.rois import RoiPlace, import_rois
from napari_neurobridge.workflows.setup import DatasetSource, add_dataset, create_project

SHAPE = (64, 80)
PIXEL_UM = 0.5
CENTERS = [(10, 12), (30, 60), (50, 20)]
MASKS = disks(CENTERS, 5, SHAPE)
PLACE = RoiPlace(pixel_um=PIXEL_UM, z_um=20.0)


@pytest.fixture
def plane(tmp_path: Path) -> Path:
    """A suite2p plane whose second ROI is no cell."""
    return write_suite2p(tmp_path / "plane0", MASKS, iscell=[0.9, 0.1, 0.6], shape=SHAPE)


@pytest.fixture
def plane_project(tmp_path: Path):
    """A project whose two-photon image is one plane of the masks' shape."""
    tifffile.imwrite(
        tmp_path / "plane.tif", np.zeros(SHAPE, dtype=np.uint8), metadata={"axes": "YX"}
    )
    source = DatasetSource(
        "two_photon", Role.IN_VIVO, tmp_path / "plane.tif", voxel_size_um=(1.0, 0.5, 0.25)
    )
    (tmp_path / "cells.csv").write_text("z_um,y_um,x_um\n1,2,3\n")
    other = DatasetSource("fmost", Role.EX_VIVO, points=tmp_path / "cells.csv")
    project = create_project(tmp_path / "p.neurobridge", [source, other])
    yield project
    project.close()


def test_without_an_image_the_pixel_size_is_stated(empty_project: Project, plane: Path) -> None:
    with pytest.raises(
        InputError, match="neither the file nor dataset 'two_photon' says"
    ) as caught:
        import_rois(empty_project, "two_photon", plane)
    assert caught.value.kind is ErrorKind.NO_PIXEL_SIZE
    assert not empty_project.state().somata["two_photon"]
    found = import_rois(empty_project, "two_photon", plane, place=PLACE)
    assert (found.format, found.n_in_file, found.kept_by) == ("suite2p", 3, "iscell")
    somata = empty_project.state().somata["two_photon"]
    assert list(somata) == ["s2p-p0-00000", "s2p-p0-00002"]
    soma = somata["s2p-p0-00002"]
    assert soma.source is SomaSource.IMPORTED
    assert (soma.source_index, soma.index_base) == (2, 0)
    assert soma.center_um == pytest.approx((20, 25, 10), abs=0.3)
    assert soma.radius_um == pytest.approx(np.sqrt(len(MASKS[2][0]) * 0.25 / np.pi))


def test_outlines_are_kept_until_a_soma_is_moved(empty_project: Project, plane: Path) -> None:
    import_rois(empty_project, "two_photon", plane, place=PLACE)
    (origin,) = empty_project.state().origins["two_photon"]
    assert (origin.format, origin.file, origin.n_in_file) == ("suite2p", "stat.npy", 3)
    (file,) = empty_project.rois_dir.iterdir()
    assert file.stem == origin.outlines
    found, problems = outlines_of(empty_project, "two_photon")
    assert problems == ()
    assert set(found) == {"s2p-p0-00000", "s2p-p0-00002"}
    y, x = MASKS[0]
    low, high = found["s2p-p0-00000"].min(axis=0), found["s2p-p0-00000"].max(axis=0)
    assert low == pytest.approx([20, (y.min() - 0.5) * 0.5, (x.min() - 0.5) * 0.5])
    assert high == pytest.approx([20, (y.max() + 0.5) * 0.5, (x.max() + 0.5) * 0.5])
    annotate.move_soma(empty_project, "s2p-p0-00000", (20, 9, 9))
    assert set(outlines_of(empty_project, "two_photon")[0]) == {"s2p-p0-00002"}
    annotate.undo(empty_project)
    annotate.delete_soma(empty_project, "s2p-p0-00002")
    assert set(outlines_of(empty_project, "two_photon")[0]) == {"s2p-p0-00000"}
    file.write_bytes(file.read_bytes()[:-1])
    found, problems = outlines_of(empty_project, "two_photon")
    assert (found, len(problems)) == ({}, 1)
    assert "damaged" in problems[0]
    file.unlink()
    assert "missing" in outlines_of(empty_project, "two_photon")[1][0]


def test_an_import_is_undone_as_a_whole_and_never_by_a_key(
    empty_project: Project, plane: Path
) -> None:
    import_rois(empty_project, "two_photon", plane, place=PLACE)
    with pytest.raises(InputError, match="nothing"):
        annotate.undo(empty_project, scope=UndoScope.HAND)
    annotate.undo(empty_project)
    assert not empty_project.state().somata["two_photon"]
    assert not empty_project.state().origins


def test_merging_brings_the_outlines_along(
    empty_project: Project, plane: Path, tmp_path: Path
) -> None:
    shutil.copytree(empty_project.path, tmp_path / "copy.neurobridge")
    copy = Project.open(tmp_path / "copy.neurobridge")
    import_rois(copy, "two_photon", plane, place=PLACE, annotator="ben")
    merge(empty_project, copy)
    found, problems = outlines_of(empty_project, "two_photon")
    assert (len(found), problems) == (2, ())
    copy.close()


def test_outlines_stay_out_of_the_log(empty_project: Project, plane: Path) -> None:
    import_rois(empty_project, "two_photon", plane, place=PLACE)
    stored = str(empty_project.log.events()[-1].payload)
    assert "vertices" not in stored
    assert len(stored) < 1000


def test_rois_lie_in_the_image_of_their_dataset(plane_project: Project, plane: Path) -> None:
    import_rois(plane_project, "two_photon", plane)
    soma = plane_project.state().somata["two_photon"]["s2p-p0-00000"]
    assert soma.center_um == pytest.approx((0, 5, 3), abs=0.3), "its voxels, and its one plane"


def test_other_images_are_refused(plane_project: Project, tmp_path: Path) -> None:
    def refusal(path: Path, place: RoiPlace | None = None) -> InputError:
        with pytest.raises(InputError) as caught:
            import_rois(plane_project, "two_photon", path, place=place)
        assert "\n" not in str(caught.value)
        assert not plane_project.state().somata["two_photon"]
        return caught.value

    binned = write_suite2p(
        tmp_path / "binned", disks([(5, 6)], 3, (32, 40)), iscell=[1], shape=(32, 40)
    )
    assert "an image of 32 × 40 pixels, and that of dataset 'two_photon' has 64 × 80" in str(
        refusal(binned)
    )
    assert refusal(binned).kind is ErrorKind.NO_PIXEL_SIZE
    beyond = write_suite2p(
        tmp_path / "beyond", disks([(5, 6), (90, 6)], 3, (99, 99)), iscell=[1, 1]
    )
    assert "1 of 2 ROIs" in str(refusal(beyond))
    assert "'s2p-00001', lie outside the dataset's image" in str(refusal(beyond))
    far = RoiPlace(pixel_um=5.0)
    assert "lie outside" in str(refusal(binned, far))
    assert "lie outside" in str(refusal(binned, RoiPlace(pixel_um=0.4, z_um=30.0)))
    import_rois(plane_project, "two_photon", binned, place=RoiPlace(voxel_size_um=(1, 1, 0.5)))
    assert len(plane_project.state().somata["two_photon"]) == 1


def test_a_plane_in_a_volume_needs_its_depth(project: Project, tmp_path: Path) -> None:
    _, *shape = project.volume("two_photon").shape
    path = write_suite2p(
        tmp_path / "s", disks([(9, 9)], 3, (shape[0], shape[1])), iscell=[1], shape=(*shape,)
    )
    with pytest.raises(InputError, match="about one plane") as caught:
        import_rois(project, "two_photon", path)
    assert caught.value.kind is ErrorKind.NO_DEPTH
    found = import_rois(project, "two_photon", path, place=RoiPlace(z_um=12.0))
    assert found.somata[0].center_um[0] == 12.0
    drawn = ImagejRoi.frompoints([(5, 5), (9, 5), (9, 9), (5, 9)])
    drawn.position = 4
    roiwrite(tmp_path / "drawn.zip", [drawn], name=["a"])
    found = import_rois(project, "two_photon", tmp_path / "drawn.zip")
    voxel_um = project.dataset("two_photon").used_voxel_size_um
    assert found.somata[0].center_um == pytest.approx(np.array([3, 6.5, 6.5]) * voxel_um)


def test_a_volume_of_labels_keeps_its_own_depths(empty_project: Project, tmp_path: Path) -> None:
    labels = np.zeros((5, 20, 20), dtype=np.uint16)
    labels[1:4, 5:9, 5:9] = 7
    labels[2, 12:15, 12:15] = 9
    tifffile.imwrite(
        tmp_path / "labels.tif", labels, imagej=True, resolution=(2, 2),
        metadata={"axes": "ZYX", "spacing": 3.0, "unit": "um"},
    )  # fmt: skip
    with pytest.raises(InputError, match="says the depths of its ROIs itself"):
        import_rois(empty_project, "fmost", tmp_path / "labels.tif", place=RoiPlace(z_um=1.0))
    found = import_rois(empty_project, "fmost", tmp_path / "labels.tif")
    assert [soma.center_um for soma in found.somata] == [(6.0, 3.25, 3.25), (6.0, 6.5, 6.5)]
    volume = 48 * 3 * 0.25
    assert found.somata[0].radius_um == pytest.approx((3 * volume / (4 * np.pi)) ** (1 / 3))
    assert [(s.source_index, s.index_base) for s in found.somata] == [(7, 1), (9, 1)]


def test_uids_stay_apart(empty_project: Project, plane: Path) -> None:
    import_rois(empty_project, "two_photon", plane, place=PLACE)
    with pytest.raises(InputError, match=r"'s2p-p0-00000' .* is in the project already"):
        import_rois(empty_project, "two_photon", plane, place=PLACE)
    import_rois(empty_project, "fmost", plane, place=PLACE)
    assert next(iter(empty_project.state().somata["fmost"])) == "fmost-s2p-p0-00000"
    annotate.delete_soma(empty_project, "s2p-p0-00002")
    every = RoiReading(Kept(every=True))
    with pytest.raises(InputError, match="in the project already"):
        import_rois(empty_project, "two_photon", plane, place=PLACE, reading=every)


def test_a_matrix_without_shape_takes_that_of_the_image(
    plane_project: Project, tmp_path: Path
) -> None:
    from scipy import sparse

    from fixtures.rois import components

    sparse.save_npz(tmp_path / "A.npz", components(MASKS, SHAPE))
    found = import_rois(plane_project, "two_photon", tmp_path / "A.npz")
    expected = np.array([(0, y, x) for y, x in CENTERS]) * (1, 0.5, 0.25)
    assert np.allclose([s.center_um for s in found.somata], expected, atol=0.1)
    write_caiman(tmp_path / "cnm.hdf5", MASKS, SHAPE)
    with pytest.raises(InputError, match="in the project already"):
        import_rois(plane_project, "two_photon", tmp_path / "cnm.hdf5")


def test_a_table_of_points_needs_nothing(empty_project: Project, tmp_path: Path) -> None:
    (tmp_path / "cells.csv").write_text("uid;z_um;y_um;x_um\na;1,5;2;3\n")
    found = import_rois(empty_project, "two_photon", tmp_path / "cells.csv")
    assert [(s.uid, s.center_um) for s in found.somata] == [("a", (1.5, 2, 3))]
    with pytest.raises(InputError, match="takes no pixel size"):
        import_rois(empty_project, "two_photon", tmp_path / "cells.csv", place=PLACE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"voxel_size_um": (1, 1, 1), "pixel_um": 1.0},
        {"pixel_um": 0.0},
        {"pixel_um": float("nan")},
        {"voxel_size_um": (1, -1, 1)},
        {"z_um": float("inf")},
    ],
)
def test_what_is_stated_has_to_make_sense(wrong) -> None:
    with pytest.raises(InputError):
        RoiPlace(**wrong)


def test_another_dataset_gets_its_own(plane_project: Project, plane: Path, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("z_um,y_um,x_um\n1,2,3\n")
    add_dataset(plane_project, DatasetSource("day2", Role.IN_VIVO, points=tmp_path / "more.csv"))
    import_rois(plane_project, "day2", plane, place=PLACE)
    assert len(plane_project.state().somata["day2"]) == 3
