"""Labels painted over an image, kept in the project, and the segmenter that learns from them."""

from __future__ import annotations

import threading
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.painted import (
    BACKGROUND,
    CELL,
    LABEL_TYPE,
    UNLABELLED,
    PaintedRegion,
    painted_regions,
    save_region,
)
from napari_neurobridge.workbench.session import Notice, Remedy
from napari_neurobridge.workflows.painted_cells import Painted, count_painted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.io.blocks import Index3
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Vec3
    from napari_neurobridge.workbench.detection_runs import DetectionRuns
    from napari_neurobridge.workbench.session import Session

LEARN_JOB, COMPARE_JOB = "learn labels", "compare detection"
MOST_VOXELS = 2**25
"""A region to paint in has no more, so that it can be held and drawn at once."""

_LOAD, _SAVE = "painted labels", "save painted labels"


class Tool(StrEnum):
    """What the mouse paints."""

    CELL = "cell"
    BACKGROUND = "background"
    ERASE = "erase"


TOOL_LABELS = {Tool.CELL: CELL, Tool.BACKGROUND: BACKGROUND, Tool.ERASE: UNLABELLED}


class Painting:
    """Regions of an image to paint in, written to the project after each stroke.

    Parameters
    ----------
    session : Session
        Where the project lives.
    detection : DetectionRuns
        Goes over to a segmenter that has been trained.

    Attributes
    ----------
    dataset : str
        Whose image is painted on; empty while nobody paints.
    regions : tuple of PaintedRegion
        Of that dataset. Views paint in their arrays and then call `painted`.
    current : int
        The region that was asked for last.
    tool : Tool
    brush_um : float
        Diameter of what a click paints.
    steps : int
        Updates of the weights; 0 for the usual number.
    """

    changed = Signal()
    regions_changed = Signal()
    undo_wanted = Signal()

    def __init__(self, session: Session, detection: DetectionRuns) -> None:
        self.dataset = ""
        self.regions: tuple[PaintedRegion, ...] = ()
        self.current = 0
        self.tool, self.brush_um, self.steps = Tool.CELL, 6.0, 0
        self._session = session
        self._detection = detection
        self._project: Project | None = None
        self._painted: dict[str, Painted] = {}
        self._outcomes: dict[str, str] = {}
        self._to_save: set[int] = set()
        self._writing = threading.Lock()
        session.project_changed.connect(self._on_project_changed)
        session.job_changed.connect(lambda status: self._on_job_changed(status.name))

    # --- what views may ask --------------------------------------------------------------

    def can_paint(self, dataset: str) -> bool:
        """Return whether a canvas shows an image of a dataset."""
        project = self._session.project
        if project is None or dataset not in project.datasets_with_images:
            return False
        return dataset in (project.in_vivo(), project.ex_vivo())

    def painted(self, dataset: str) -> Painted:
        """Return how much is painted in a dataset, as far as that is known."""
        return self._painted.get(dataset, Painted())

    def outcome(self, dataset: str) -> str:
        """Return what came of the last training or comparison in a dataset, in words."""
        return self._outcomes.get(dataset, "")

    @property
    def framed(self) -> bool:
        """Whether the image is larger than what is painted in, so that views draw a frame."""
        if self._project is None or not self.dataset:
            return False
        shape = self._project.volume(self.dataset).shape
        return any(region.labels.shape != shape for region in self.regions)

    @property
    def busy(self) -> bool:
        """Whether a training or a comparison runs, or waits for its turn."""
        jobs = self._session.jobs
        return not {LEARN_JOB, COMPARE_JOB}.isdisjoint((*jobs.running(), *jobs.waiting()))

    # --- painting ------------------------------------------------------------------------

    def look(self, dataset: str) -> None:
        """Count what is painted in a dataset, unless that is known."""
        project = self._session.project
        if project is None or dataset in self._painted or not self.can_paint(dataset):
            return

        def take(counted: Painted) -> None:
            if self._session.project is project:
                self._painted.setdefault(dataset, counted)
                self.changed.emit()

        self._session.jobs.submit(
            f"{_LOAD} of {dataset}",
            lambda: _counted(project, dataset, painted_regions(project, dataset)),
            take,
            self._session.show_error,
            beside=True,
        )

    def begin(self, dataset: str, place_um: Vec3) -> None:
        """Show what is painted in a dataset, with a region about a place, µm (z, y, x)."""

        def start() -> None:
            project = self._session.require_project()
            if not self.can_paint(dataset):
                raise InputError(f"There is no image of '{dataset}' in either canvas.")
            self.stop()
            self._session.jobs.submit(
                _LOAD,
                lambda: regions_about(project, dataset, place_um),
                partial(self._show, project, dataset),
                self._session.show_error,
            )

        self._session.attempt(start)

    def stop(self) -> None:
        """Take the labels off the canvas; all that was painted is kept."""
        self._session.jobs.forget(_LOAD)
        if not self.dataset:
            return
        self.flush()
        self.dataset, self.regions, self.current = "", (), 0
        self.regions_changed.emit()
        self.changed.emit()

    def stroke(self, number: int) -> None:
        """Keep what somebody has just painted in a region, by its number."""
        project, dataset = self._project, self.dataset
        if project is None or number >= len(self.regions):
            return
        self._to_save.add(number)
        regions = self.regions

        def save() -> Painted:
            self._save(project, dataset, regions)
            return _counted(project, dataset, regions)

        def take(counted: Painted) -> None:
            if self._session.project is project:
                self._painted[dataset] = counted
                self.changed.emit()

        self._session.jobs.submit(_SAVE, save, take, self._session.show_error, beside=True)

    def undo_stroke(self) -> None:
        """Take back the last stroke, where a view knows it."""
        self.undo_wanted.emit()

    def choose(self, tool: Tool) -> None:
        """Paint something else from now on."""
        self.tool = tool
        self.changed.emit()

    def set_brush(self, brush_um: float) -> None:
        """Paint with another brush from now on."""
        self.brush_um = brush_um
        self.changed.emit()

    def flush(self) -> None:
        """Write at once what has not been written yet."""
        if self._project is not None and self._to_save:
            project, dataset, regions = self._project, self.dataset, self.regions
            self._session.attempt(lambda: self._save(project, dataset, regions))

    def close(self) -> None:
        """Keep what was painted; called when the viewer closes."""
        self.flush()

    # --- learning ------------------------------------------------------------------------

    def learn(self, dataset: str) -> None:
        """Train a segmenter in a child process; the same labels go on where it was stopped."""
        arguments = ["--steps", str(self.steps)] if self.steps else []
        self._run(LEARN_JOB, "train-segmenter", dataset, arguments, self._learned, self._stopped)

    def compare(self, dataset: str) -> None:
        """Count what the chosen segmenter and the difference of Gaussians find in a dataset."""
        detection = self._detection
        arguments = ["--soma-diameter", str(detection.diameter_um(dataset))]
        method = detection.method(dataset)
        if method not in ("dog", "segmenter"):
            arguments += ["--model", method]
        self._run(COMPARE_JOB, "compare-detection", dataset, arguments, self._compared)

    # --- inside --------------------------------------------------------------------------

    def _run(
        self,
        job: str,
        command: str,
        dataset: str,
        arguments: list[str],
        take: Any,
        stopped: Any = lambda: None,
    ) -> None:
        def begin() -> None:
            project = self._session.require_project()
            self.flush()
            title = "Learning" if job == LEARN_JOB else "Comparison"
            self._session.jobs.start(
                job,
                [command, str(project.path), "--dataset", dataset, *arguments],
                partial(take, project, dataset),
                on_stopped=stopped,
                title=f"{title} in {dataset}",
                in_turn=True,
            )
            self.changed.emit()

        self._session.attempt(begin, about=job)

    def _learned(self, project: Project, dataset: str, result: dict[str, Any]) -> None:
        if self._session.project is not project:
            return
        name = str(result["model"]).replace("\\", "/").rsplit("/", 1)[-1]
        n_cells = int(result["n_cells"])
        words = f"{name} has learned {n_cells} {'cell' if n_cells == 1 else 'cells'}"
        self._outcomes[dataset] = f"{words}. It is chosen above as the method of {dataset}."
        self._detection.set_method(dataset, name)
        remedy = Remedy("Detect with it", partial(self._detection.detect, dataset))
        self._session.notified.emit(Notice(f"{words} in {dataset}.", remedy=remedy))
        self.changed.emit()

    def _stopped(self) -> None:
        self._session.notify(
            "The training was cancelled. Nothing has changed; it goes on from there as long as "
            "nothing else is painted."
        )

    def _compared(self, project: Project, dataset: str, result: dict[str, Any]) -> None:
        if self._session.project is project:
            self._outcomes[dataset] = comparison_in_words(result)
            self.changed.emit()

    def _show(
        self, project: Project, dataset: str, found: tuple[tuple[PaintedRegion, ...], int]
    ) -> None:
        if self._session.project is not project:
            return
        self._project, self.dataset = project, dataset
        self.regions, self.current = found
        self.regions_changed.emit()
        self.changed.emit()
        self.look(dataset)

    def _save(self, project: Project, dataset: str, regions: Sequence[PaintedRegion]) -> None:
        # One at a time, and each reads what is painted by then: the last one has all of it.
        with self._writing:
            while self._to_save:
                number = self._to_save.pop()
                try:
                    save_region(project, dataset, regions[number])
                except InputError:
                    self._to_save.add(number)
                    raise

    def _on_project_changed(self, _: object) -> None:
        self.stop()
        self._project, self._painted, self._outcomes = None, {}, {}
        self.changed.emit()

    def _on_job_changed(self, name: str) -> None:
        if name in (LEARN_JOB, COMPARE_JOB):
            self.changed.emit()


def regions_about(
    project: Project, dataset: str, place_um: Vec3, most_voxels: int = MOST_VOXELS
) -> tuple[tuple[PaintedRegion, ...], int]:
    """Return what is painted in a dataset, and which region holds a place: a new one if need be."""
    volume = project.volume(dataset)
    voxel = np.array(place_um) / volume.voxel_size_um
    voxel = np.clip(voxel, 0, np.array(volume.shape) - 1)
    regions = painted_regions(project, dataset)
    for number, region in enumerate(regions):
        if region.holds(voxel.tolist()):
            return tuple(regions), number
    start, shape = region_box(volume.shape, volume.voxel_size_um, voxel.tolist(), most_voxels)
    return (*regions, PaintedRegion(start, np.zeros(shape, dtype=LABEL_TYPE))), len(regions)


def region_box(
    shape: Index3, voxel_um: Vec3, middle: Sequence[float], most_voxels: int
) -> tuple[Index3, Index3]:
    """Return start and shape of the largest box about a voxel that has not too many voxels.

    It is a cube in µm, but where the image ends.
    """
    size = np.array(voxel_um)
    low, high = float(size.min()), float((size * shape).max())

    def sides(side_um: float) -> np.ndarray:
        # A little more: whole voxels are to stay whole.
        return np.asarray(np.clip((side_um / size + 1e-6).astype(int), 1, shape))

    if np.prod(sides(high).astype(float)) > most_voxels:
        for _ in range(40):
            side_um = (low + high) / 2
            fits = np.prod(sides(side_um).astype(float)) <= most_voxels
            low, high = (side_um, high) if fits else (low, side_um)
        high = low
    box = sides(high)
    start = np.clip(np.rint(np.array(middle) - (box - 1) / 2).astype(int), 0, np.array(shape) - box)
    (z, y, x), (depth, height, width) = start.tolist(), box.tolist()
    return (z, y, x), (depth, height, width)


def comparison_in_words(result: dict[str, Any]) -> str:
    """Return what a comparison of two detectors found; markup for a label."""
    painted, beside = result["painted_found"], result["in_background"]
    rows = [("learned" if "-painted-" in result["segmenter"] else "network", "segmenter")]
    rows.append(("Gaussians", "dog"))
    lines = "".join(
        f"<tr><td>{words}</td><td align=right>{result['n_' + key]:,}</td>"
        f"<td align=right>{painted[key]} of {result['n_painted']}</td>"
        f"<td align=right>{beside[key]}</td></tr>"
        for words, key in rows
    )
    both = "1 cell is" if result["n_both"] == 1 else f"{result['n_both']:,} cells are"
    return (
        "<table cellspacing=6><tr><th></th><th>cells</th><th>painted</th><th>wrong</th></tr>"
        f"{lines}</table>{both} found by both. <i>painted</i>: of the "
        "cells you painted, how many are found; <i>wrong</i>: cells where you painted background."
    )


def _counted(project: Project, dataset: str, regions: Sequence[PaintedRegion]) -> Painted:
    return count_painted(regions, project.volume(dataset).voxel_size_um)
