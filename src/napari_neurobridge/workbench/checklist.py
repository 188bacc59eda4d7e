"""What to do next, in the words of the Data dock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from napari_neurobridge.matching.appearance.search import lacks_few
from napari_neurobridge.matching.wording import not_indexed
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.types import DEFAULT_NAMES, Role, Vec3

if TYPE_CHECKING:
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workbench.draft import ProjectDraft


_NO_VOXELS = "none needed: points are in µm"


class Step(IntEnum):
    """Lines of the checklist, in the order in which they are done."""

    TWO_PHOTON = 1
    FMOST = 2
    VOXEL_SIZES = 3
    ORIENTATION = 4
    SOMATA = 5
    INDEX = 6


@dataclass(frozen=True, slots=True)
class ChecklistItem:
    """One line of the checklist.

    Attributes
    ----------
    available : bool
        Whether the line's form can be used yet.
    """

    step: Step
    title: str
    detail: str
    done: bool
    available: bool


@dataclass(frozen=True, slots=True)
class IndexState:
    """How many living somata the current model has embedded.

    Attributes
    ----------
    n_embedded, n_somata : int
    n_damaged : int
        Files of the index that were left out, since they are damaged.
    model : str
        Name of the current model; empty where it does not matter.
    ranked_with : str
        Name of the older model that rankings rest on meanwhile; empty if they rest on the
        current one.
    note : str
        Why a model that was adopted later is not the current one; empty if there is none.
    n_late : int
        Somata that the index which rankings rest on lacks, where there is one: those that were
        added or moved since.
    """

    n_embedded: int
    n_somata: int
    n_damaged: int = 0
    model: str = ""
    ranked_with: str = ""
    note: str = ""
    n_late: int = 0

    @property
    def complete(self) -> bool:
        """Whether all somata are indexed for the current model."""
        return self.n_somata > 0 and self.n_embedded >= self.n_somata

    @property
    def lacks_few(self) -> bool:
        """Whether it can be used as it is; the few that it lacks are embedded unasked."""
        return lacks_few(self.n_embedded, self.n_somata)

    def in_words(self) -> str:
        """Return what the Data dock says about it."""
        by = f" with {self.model}" if self.model else ""
        parts = [f"{self.n_embedded} of {self.n_somata} somata embedded{by}"]
        if self.n_damaged:
            parts.append("damaged files of the index were left out: press Index to make them anew")
        if self.ranked_with:
            missing = self.n_somata - self.n_embedded
            parts.append(f"{missing} cells to index; rankings use {self.ranked_with} until then")
        if self.n_late:
            parts.append(not_indexed(self.n_late))
        return "; ".join([*parts, *filter(None, [self.note])])


def format_um(values: Vec3) -> str:
    """Return a voxel size as text, µm (z, y, x)."""
    return " × ".join(f"{value:.6g}" for value in values) + " µm"


def checklist_of_draft(draft: ProjectDraft) -> tuple[ChecklistItem, ...]:
    """Return the checklist while no project is open."""
    items = []
    for step, role, title in (
        (Step.TWO_PHOTON, Role.IN_VIVO, "Two-photon image"),
        (Step.FMOST, Role.EX_VIVO, "fMOST image"),
    ):
        items.append(
            ChecklistItem(step, title, _choice_in_words(draft, role), draft.chosen(role), True)
        )
    detail = "after both images"
    if not draft.images and draft.complete:
        detail = _NO_VOXELS
    elif draft.images:
        detail = "; ".join(
            f"{DEFAULT_NAMES[role]} "
            + ("? — type it" if image.voxel_size_um is None else format_um(image.voxel_size_um))
            + (" — unusual" if image.doubt else "")
            for role, image in draft.images.items()
        )
    items.append(
        ChecklistItem(
            Step.VOXEL_SIZES, "Voxel sizes (z × y × x)", detail, draft.complete, bool(draft.images)
        )
    )
    later = "after the project is created"
    items.append(ChecklistItem(Step.ORIENTATION, "Orientation", later, False, False))
    items.append(ChecklistItem(Step.SOMATA, "Somata", later, False, False))
    items.append(ChecklistItem(Step.INDEX, "Index", later, False, False))
    return tuple(items)


def _choice_in_words(draft: ProjectDraft, role: Role) -> str:
    image, points = draft.images.get(role), draft.points.get(role)
    parts = []
    if image is not None:
        shape = " × ".join(str(n) for n in image.info.shape)
        parts.append(f"{_file_name(image.info.path)}  ({image.info.axes}: {shape})")
    if points is not None:
        only = "points only: " if image is None else ""
        parts.append(f"{only}{points.n_points} in {points.path.name}")
    return "; ".join(parts) or "choose a file, or drop it here: an image, or a table of points"


def checklist_of_project(project: Project, index: IndexState | None) -> tuple[ChecklistItem, ...]:
    """Return the checklist of an open project.

    Parameters
    ----------
    project : Project
    index : IndexState or None
        ``None`` while it is unknown.
    """
    return (
        *_image_items(project),
        _orientation_item(project, index),
        *_soma_items(project, index),
    )


def _image_items(project: Project) -> list[ChecklistItem]:
    items = []
    for step, name, title in (
        (Step.TWO_PHOTON, project.in_vivo(), "Two-photon image"),
        (Step.FMOST, project.ex_vivo(), "fMOST image"),
    ):
        uri = project.dataset(name).uri
        detail = "points only" if uri is None else _file_name(uri)
        items.append(ChecklistItem(step, title, detail, True, False))
    sizes = [
        f"{spec.name} {format_um(spec.used_voxel_size_um)}"
        for spec in project.datasets.values()
        if spec.used_voxel_size_um is not None
    ]
    items.append(
        ChecklistItem(
            Step.VOXEL_SIZES,
            "Voxel sizes (z × y × x)",
            "; ".join(sizes) or _NO_VOXELS,
            True,
            False,
        )
    )
    return items


def _orientation_item(project: Project, index: IndexState | None) -> ChecklistItem:
    orientation = project.dataset(project.ex_vivo()).orientation
    # Whoever has indexed without a word wants to go on with the same axes.
    used = index is not None and index.n_embedded > 0
    done = used or orientation is not None
    return ChecklistItem(
        Step.ORIENTATION, "Orientation", _orientation_in_words(orientation), done, True
    )


def _orientation_in_words(orientation: Orientation | None) -> str:
    if orientation is None:
        return "not stated; the same axes are assumed"
    if orientation == Orientation():
        return "same axes (confirmed)"
    return (
        f"depth, rows, columns run along fMOST {orientation.axes}"
        f"{', mirrored' if orientation.mirrored else ''}; {orientation.angle_deg:g}°, "
        f"expansion {orientation.expansion:g}"
    )


def _soma_items(project: Project, index: IndexState | None) -> list[ChecklistItem]:
    counts = {
        name: len(project.state().somata.get(name, {}))
        for name in (project.in_vivo(), project.ex_vivo())
    }
    items = [
        ChecklistItem(
            Step.SOMATA,
            "Somata",
            ", ".join(f"{count} in {name}" for name, count in counts.items()),
            min(counts.values()) > 0,
            True,
        )
    ]
    if not project.has_images():
        detail = "not needed: cells are compared by their places, since a side has no image"
        items.append(ChecklistItem(Step.INDEX, "Index", detail, min(counts.values()) > 0, False))
        return items
    detail = "after somata" if min(counts.values()) == 0 else "press Index"
    if index is not None and index.n_somata > 0:
        detail = index.in_words()
    items.append(
        ChecklistItem(
            Step.INDEX,
            "Index",
            detail,
            index is not None and (index.complete or index.lacks_few),
            min(counts.values()) > 0,
        )
    )
    return items


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
