"""The draft and the checklist, without a viewer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.folder import Project
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.types import Role
from napari_neurobridge.workbench.checklist import (
    ChecklistItem,
    IndexState,
    Step,
    checklist_of_draft,
    checklist_of_project,
)
from napari_neurobridge.workbench.draft import ImageChoice, PointsChoice, ProjectDraft
from napari_neurobridge.workflows.setup import create_project


def _by_step(items: tuple[ChecklistItem, ...]) -> dict[Step, ChecklistItem]:
    return {item.step: item for item in items}


@pytest.fixture
def draft(image_folder: Path) -> ProjectDraft:
    draft = ProjectDraft()
    for role, name in ((Role.IN_VIVO, "two_photon"), (Role.EX_VIVO, "fmost")):
        draft = draft.with_image(role, ImageChoice.from_file(image_folder / f"{name}.tif"))
    return draft


def test_an_empty_draft_asks_for_images_and_nothing_else() -> None:
    items = _by_step(checklist_of_draft(ProjectDraft()))
    assert [step for step, item in items.items() if item.available] == [
        Step.TWO_PHOTON,
        Step.FMOST,
    ]
    assert not any(item.done for item in items.values())


def test_voxel_sizes_come_from_the_files(draft: ProjectDraft) -> None:
    assert draft.complete
    items = _by_step(checklist_of_draft(draft))
    assert items[Step.VOXEL_SIZES].done
    assert "two_photon 4 × 2 × 2 µm" in items[Step.VOXEL_SIZES].detail


def test_only_what_a_person_typed_is_stated(draft: ProjectDraft) -> None:
    before = draft.to_sources()
    assert all((source.voxel_size_um, source.axes) == (None, None) for source in before)
    assert all(source.orientation is None for source in before)
    typed = draft.with_voxel_size(Role.EX_VIVO, (3.0, 2.0, 2.0)).to_sources()
    assert [source.voxel_size_um for source in typed] == [None, (3.0, 2.0, 2.0)]


def test_a_missing_voxel_size_is_asked_for_and_never_assumed(draft: ProjectDraft) -> None:
    image = draft.images[Role.IN_VIVO]
    silent = replace(image.info, voxel_size_um=None)
    draft = draft.with_image(Role.IN_VIVO, ImageChoice(silent))
    assert not draft.complete
    assert "two_photon ?" in _by_step(checklist_of_draft(draft))[Step.VOXEL_SIZES].detail
    with pytest.raises(InputError, match="voxel size of two_photon"):
        draft.to_sources()
    with pytest.raises(InputError, match="above 0 µm; that of two_photon is missing along y"):
        draft.with_voxel_size(Role.IN_VIVO, (1.0, 0.0, 1.0))
    assert draft.with_voxel_size(Role.IN_VIVO, (4.0, 2.0, 2.0)).complete


def test_an_unusual_voxel_size_is_confirmed_or_corrected_first(draft: ProjectDraft) -> None:
    doubtful = draft.with_voxel_size(Role.EX_VIVO, (1680.0, 650.0, 650.0))
    (doubt,) = doubtful.doubts
    assert doubt.startswith("fmost: 1680 µm along z")
    assert "1680 in nm, which is 1.68 µm?" in doubt
    assert not doubtful.complete
    voxels = _by_step(checklist_of_draft(doubtful))[Step.VOXEL_SIZES]
    assert not voxels.done
    assert "unusual" in voxels.detail
    with pytest.raises(InputError, match="Confirm or correct the voxel size of fmost"):
        doubtful.to_sources()
    assert doubtful.with_confirmed_sizes().complete
    assert doubtful.with_voxel_size(Role.EX_VIVO, (1.68, 0.65, 0.65)).complete
    again = doubtful.with_confirmed_sizes().with_voxel_size(Role.EX_VIVO, (1900.0, 1.0, 1.0))
    assert again.doubts, "another size is another question"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.tif", "b.tif"], {Role.IN_VIVO: "a.tif", Role.EX_VIVO: "b.tif"}),
        (["brain.zarr", "a.tif"], {Role.IN_VIVO: "a.tif", Role.EX_VIVO: "brain.zarr"}),
        (["a.tif", "brain.zarr"], {Role.IN_VIVO: "a.tif", Role.EX_VIVO: "brain.zarr"}),
        (["brain.zarr"], {Role.EX_VIVO: "brain.zarr"}),
        (["a.tif"], {Role.IN_VIVO: "a.tif"}),
        (["a.zarr", "b.zarr"], {Role.EX_VIVO: "a.zarr", Role.IN_VIVO: "b.zarr"}),
    ],
)
def test_dropped_files_find_their_lines(names: list[str], expected: dict[Role, str]) -> None:
    assigned = ProjectDraft().assign_roles([Path(name) for name in names])
    assert {role: path.name for role, path in assigned.items()} == expected


def test_a_tiff_dropped_after_the_two_photon_image_is_the_brain(draft: ProjectDraft) -> None:
    half = ProjectDraft({Role.IN_VIVO: draft.images[Role.IN_VIVO]})
    assert half.assign_roles([Path("b.tif")]) == {Role.EX_VIVO: Path("b.tif")}


def test_no_dropped_file_is_lost_silently(draft: ProjectDraft) -> None:
    with pytest.raises(InputError, match="3 files"):
        ProjectDraft().assign_roles([Path(f"{name}.tif") for name in "abc"])
    with pytest.raises(InputError, match="chosen already"):
        draft.assign_roles([Path("c.tif")])


def test_an_orientation_that_nobody_stated_is_not_done(project: Project) -> None:
    def item(index: IndexState | None = None) -> ChecklistItem:
        return _by_step(checklist_of_project(project, index))[Step.ORIENTATION]

    project.update_dataset("fmost", orientation=None)
    assert not item().done
    assert "not stated" in item().detail
    assert item(IndexState(1, 28)).done, "whoever has indexed went on with it"
    assert "not stated" in item(IndexState(1, 28)).detail
    project.set_orientation("fmost", Orientation(axes="-z+y+x"))
    assert item().done
    assert "mirrored" in item().detail


def test_confirmed_same_axes_are_done_after_a_restart(project: Project) -> None:
    project.set_orientation("fmost", Orientation())
    project.close()
    again = Project.open(project.path)
    item = _by_step(checklist_of_project(again, None))[Step.ORIENTATION]
    again.close()
    assert (item.done, item.detail) == (True, "same axes (confirmed)")


def test_the_suggested_folder_is_free(draft: ProjectDraft) -> None:
    folder = draft.suggested_folder()
    assert not folder.exists()
    assert folder.suffix == ".neurobridge"


def test_the_checklist_of_a_project_counts(project: Project) -> None:
    def items(index: IndexState | None) -> dict[Step, ChecklistItem]:
        return _by_step(checklist_of_project(project, index))

    somata = items(None)[Step.SOMATA]
    assert (somata.done, somata.detail) == (True, "14 in two_photon, 14 in fmost")
    assert not items(None)[Step.INDEX].done
    assert "+y+z-x;" in items(None)[Step.ORIENTATION].detail, "not mirrored, so not called it"
    half = items(IndexState(14, 28))[Step.INDEX]
    assert (half.done, half.detail) == (False, "14 of 28 somata embedded")
    assert items(IndexState(28, 28))[Step.INDEX].done


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["b.csv", "a.csv"], {Role.IN_VIVO: "b.csv", Role.EX_VIVO: "a.csv"}),
        (
            ["fmost.csv", "two_photon.csv"],
            {Role.IN_VIVO: "two_photon.csv", Role.EX_VIVO: "fmost.csv"},
        ),
        (["a.csv", "two_photon-1.csv"], {Role.IN_VIVO: "two_photon-1.csv", Role.EX_VIVO: "a.csv"}),
        (
            ["fmost-a.csv", "fmost-b.csv"],
            {Role.EX_VIVO: "fmost-a.csv", Role.IN_VIVO: "fmost-b.csv"},
        ),
    ],
)
def test_dropped_tables_find_their_sides(names: list[str], expected: dict[Role, str]) -> None:
    assigned = ProjectDraft().assign_points([Path(name) for name in names])
    assert {role: path.name for role, path in assigned.items()} == expected


def test_a_table_goes_first_to_the_side_that_has_nothing(draft: ProjectDraft) -> None:
    half = ProjectDraft({Role.IN_VIVO: draft.images[Role.IN_VIVO]})
    assert half.assign_points([Path("a.csv")]) == {Role.EX_VIVO: Path("a.csv")}
    assert draft.assign_points([Path("a.csv")]) == {Role.IN_VIVO: Path("a.csv")}
    with pytest.raises(InputError, match="these are 3"):
        draft.assign_points([Path(f"{name}.csv") for name in "abc"])


def test_points_alone_need_no_voxel_size_and_no_index(tmp_path: Path) -> None:
    draft = ProjectDraft()
    for role, name in ((Role.IN_VIVO, "a"), (Role.EX_VIVO, "b")):
        path = tmp_path / f"{name}.csv"
        path.write_text("z_um,y_um,x_um\n1,2,3\n4,5,6\n")
        draft = draft.with_points(role, PointsChoice.from_file(path))
    assert draft.complete
    items = _by_step(checklist_of_draft(draft))
    assert items[Step.TWO_PHOTON].detail == "points only: 2 in a.csv"
    assert items[Step.VOXEL_SIZES].done
    assert draft.suggested_folder() == tmp_path / "a.neurobridge"
    project = create_project(tmp_path / "p.neurobridge", draft.to_sources())
    index = _by_step(checklist_of_project(project, None))[Step.INDEX]
    assert index.done
    assert not index.available
