"""Somata that a detector finds: what another run costs, its settings, and taking it back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import UndoScope
from napari_neurobridge.types import USUAL_SOMA_DIAMETER_UM
from napari_neurobridge.workbench.session import Notice, Remedy
from napari_neurobridge.workflows.detect import (
    DetectionCost,
    detection_cost,
    last_diameter_um,
    last_model,
)
from napari_neurobridge.workflows.learn_segmenter import learned_segmenters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.events import Event
    from napari_neurobridge.workbench.session import Session

DOG, SEGMENTER = "dog", "segmenter"
"""Ways to find somata; a segmenter that learned painted labels goes by its own name."""

_METHODS = {DOG: "difference of Gaussians", SEGMENTER: "trained network"}
_SCOPE = UndoScope.DETECTION


class DetectionRuns:
    """Runs the detector on datasets, asks before it replaces somata, and undoes a run.

    Parameters
    ----------
    session : Session
        Where the project lives.
    """

    settings_changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._chosen: dict[str, float] = {}
        self._methods: dict[str, str] = {}
        session.project_changed.connect(self._on_project_changed)
        session.somata_changed.connect(self._tell)

    # --- settings ----------------------------------------------------------------------

    @property
    def datasets(self) -> list[str]:
        """Where somata can be detected: the datasets that have an image."""
        project = self._session.project
        return [] if project is None else project.datasets_with_images

    def diameter_um(self, dataset: str) -> float:
        """Return the soma diameter, µm, to search a dataset for: as chosen, or as the last time."""
        project = self._session.project
        if dataset in self._chosen:
            return self._chosen[dataset]
        return USUAL_SOMA_DIAMETER_UM if project is None else last_diameter_um(project, dataset)

    def set_diameter(self, dataset: str, diameter_um: float) -> None:
        """Choose what a dataset is searched for from now on."""
        self._chosen[dataset] = diameter_um
        self.settings_changed.emit()

    def methods(self, dataset: str) -> dict[str, str]:
        """Return the ways to find somata in a dataset, in words, by their names."""
        project = self._session.project
        if project is None or dataset not in self.datasets:
            return dict(_METHODS)
        learned = learned_segmenters(project, dataset)
        return {**_METHODS, **{name: _learned_in_words(name) for name in learned}}

    def method(self, dataset: str) -> str:
        """Return how somata are looked for in a dataset: as chosen, or as the last time."""
        project = self._session.project
        if project is None or dataset in self._methods:
            return self._methods.get(dataset, DOG)
        last = last_model(project, dataset)
        if last is None:
            return DOG
        return last if last in learned_segmenters(project, dataset) else SEGMENTER

    def set_method(self, dataset: str, method: str) -> None:
        """Choose how a dataset is searched from now on."""
        self._methods[dataset] = method
        self.settings_changed.emit()

    def settings_in_words(self, dataset: str) -> str:
        """Return how a dataset is searched."""
        method = self.method(dataset)
        if method == DOG:
            return f"{self.diameter_um(dataset):g} µm"
        return f"the {_METHODS[method]}" if method in _METHODS else _learned_in_words(method)

    # --- detecting ---------------------------------------------------------------------

    def detect(self, *datasets: str) -> None:
        """Detect the somata of some datasets; asks first where that replaces somata."""

        def ask() -> None:
            project = self._session.require_project()
            costs = {name: detection_cost(project, name) for name in datasets}
            start = partial(self._session.attempt, partial(self._start, project, datasets))
            if any(cost.n_replaced for cost in costs.values()):
                remedy = Remedy("Detect again", start)
                self._session.notified.emit(Notice(_cost_in_words(costs), remedy=remedy))
            else:
                start()

        self._session.attempt(ask)

    def _start(self, project: Project, datasets: Sequence[str]) -> None:
        if self._session.project is not project:
            return  # another one has been opened since the question
        for dataset in datasets:
            arguments = ["detect", str(project.path), "--dataset", dataset]
            arguments += self._method_arguments(dataset)
            arguments += ["--annotator", self._session.annotator]
            self._session.jobs.start(
                f"detect {dataset}",
                arguments,
                partial(self._take, project, dataset),
                title=f"Detection in {dataset}",
                in_turn=True,
            )

    def _method_arguments(self, dataset: str) -> list[str]:
        method = self.method(dataset)
        if method == DOG:
            return ["--soma-diameter", str(self.diameter_um(dataset))]
        model = [] if method == SEGMENTER else ["--model", method]
        return ["--method", "segmenter", *model]

    def _take(self, project: Project, dataset: str, result: dict[str, Any]) -> None:
        if self._session.project is not project:
            return
        self._session.somata_were_changed(dataset)
        text = f"{result['n_somata']:,} somata in {dataset} now"
        remedy = Remedy("Undo detection", self.undo) if self.undoable else None
        self._session.notified.emit(Notice(text, remedy=remedy))

    # --- taking back -------------------------------------------------------------------

    @property
    def undoable(self) -> str:
        """The run that `undo` takes back, in words; empty if there is none."""
        return self._in_words(lambda project, who: project.state().undoable(who, _SCOPE))

    @property
    def redoable(self) -> str:
        """The run that `redo` brings back, in words; empty if there is none."""
        return self._in_words(lambda project, who: project.state().redoable(who, _SCOPE))

    def undo(self) -> None:
        """Take back this annotator's latest detection run, whatever was done since."""
        self._step(annotate.undo, "undone")

    def redo(self) -> None:
        """Bring back the detection run that was undone last."""
        self._step(annotate.redo, "redone")

    # --- inside ------------------------------------------------------------------------

    def _in_words(self, find: Callable[[Project, str], Sequence[Event]]) -> str:
        project = self._session.project
        if project is None:
            return ""
        return annotate.describe_target(project, find(project, self._session.annotator))

    def _step(self, step: Callable[..., list[Event]], done: str) -> None:
        def take_back() -> None:
            project = self._session.require_project()
            before = project.state().somata
            events = step(project, annotator=self._session.annotator, scope=_SCOPE)
            self._session.tell_changed_somata(before)
            self._session.verdicts_changed.emit()
            self._session.notify(f"{done}: {annotate.describe_target(project, events)}")

        self._session.attempt(take_back)

    def _on_project_changed(self, _: object) -> None:
        self._chosen, self._methods = {}, {}
        self.settings_changed.emit()

    def _tell(self, _: str) -> None:
        self.settings_changed.emit()


def _learned_in_words(name: str) -> str:
    return f"learned from paint, {name.rsplit('-', 1)[-1]}"


def _cost_in_words(costs: dict[str, DetectionCost]) -> str:
    replaced = [
        f"{cost.n_replaced:,} {'cell' if cost.n_replaced == 1 else 'cells'} in {name}"
        f", {cost.n_paired:,} of them in pairs"
        for name, cost in costs.items()
        if cost.n_replaced
    ]
    return (
        f"Detecting again replaces {' and '.join(replaced)}. Cells that are found again keep their "
        "names, those placed by hand stay, and the run can be undone."
    )
