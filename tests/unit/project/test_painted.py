"""What was painted comes back as it was, whatever happens to the file meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.painted import PaintedRegion, painted_regions, save_region


def region_of(spots: list[tuple[int, int, int]], start=(3, 10, 20)) -> PaintedRegion:
    labels = np.zeros((4, 6, 8), dtype=np.uint16)
    for number, spot in enumerate(spots, start=1):
        labels[spot] = number
    return PaintedRegion(start, labels)


@given(st.lists(st.tuples(*(st.integers(0, n - 1) for n in (4, 6, 8))), max_size=6, unique=True))
def test_the_painted_box_is_the_smallest_one(spots: list[tuple[int, int, int]]) -> None:
    region = region_of(spots)
    box = region.painted_box()
    if not spots:
        assert box is None
        return
    at = np.argwhere(region.labels)
    assert [part.start for part in box] == at.min(axis=0).tolist()
    assert [part.stop - 1 for part in box] == at.max(axis=0).tolist()


def test_what_is_erased_is_gone_and_what_never_was_leaves_no_file(
    points_project_folder: Path,
) -> None:
    project = Project.open(points_project_folder)
    assert not save_region(project, "fmost", region_of([])).exists()
    save_region(project, "fmost", region_of([(1, 1, 1)]))
    save_region(project, "fmost", region_of([]))
    (back,) = painted_regions(project, "fmost")
    assert back.labels.shape == (4, 6, 8)
    assert not back.labels.any()


@pytest.mark.parametrize("spots", [[(0, 0, 0)], [(3, 5, 7), (1, 2, 3), (1, 2, 4)]])
def test_a_region_comes_back_as_it_was(points_project_folder: Path, spots) -> None:
    project = Project.open(points_project_folder)
    region = region_of(spots)
    save_region(project, "fmost", region)
    (back,) = painted_regions(Project.open(points_project_folder), "fmost")
    assert back.start == region.start
    assert np.array_equal(back.labels, region.labels)
    assert painted_regions(project, "two_photon") == []


def test_an_older_state_is_replaced_and_other_regions_stay(points_project_folder: Path) -> None:
    project = Project.open(points_project_folder)
    save_region(project, "fmost", region_of([(0, 0, 0)]))
    save_region(project, "fmost", region_of([(1, 1, 1)], start=(0, 0, 0)))
    save_region(project, "fmost", region_of([(2, 2, 2)]))
    found = {region.start: region for region in painted_regions(project, "fmost")}
    assert set(found) == {(3, 10, 20), (0, 0, 0)}
    assert np.argwhere(found[3, 10, 20].labels).tolist() == [[2, 2, 2]]


def test_a_damaged_file_is_one_sentence(points_project_folder: Path) -> None:
    project = Project.open(points_project_folder)
    path = save_region(project, "fmost", region_of([(0, 0, 0)]))
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"x" * 100):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="are damaged; delete the file"):
            painted_regions(project, "fmost")


def test_a_pickle_is_not_unpacked(points_project_folder: Path) -> None:
    project = Project.open(points_project_folder)
    path = save_region(project, "fmost", region_of([(0, 0, 0)]))
    content = {"start": (0, 0, 0), "shape": (1, 1, 1), "at": (0, 0, 0)}
    np.savez(path, painted=np.array([[[Path("harm")]]], dtype=object), **content)
    with pytest.raises(InputError, match="are damaged"):
        painted_regions(project, "fmost")


def test_what_cannot_be_written_is_one_sentence(points_project_folder: Path) -> None:
    project = Project.open(points_project_folder)
    (project.path / "labels").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        save_region(project, "fmost", region_of([(0, 0, 0)]))
