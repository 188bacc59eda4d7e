"""Landmarks that are no somata: placed by a click on either side, moved and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.log.landmarks import (
    DEFAULT_SIGMA_UM,
    change_landmark,
    delete_landmarks,
    place_landmarks,
    replace_by_pair,
)
from napari_neurobridge.workbench.clicks import CLICK_HALF_SLAB_UM, CLICK_RADIUS_UM
from napari_neurobridge.workbench.session import Notice, Remedy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.landmark_events import PointLandmark
    from napari_neurobridge.types import Vec3
    from napari_neurobridge.workbench.questions import Questions
    from napari_neurobridge.workbench.session import Session

SNAP_UM = 6.0
"""A landmark so near a soma on both sides is probably meant to be their pair."""

_BEGUN = "Click a point in one canvas, then the same point in the other; drag a landmark to move it"
_OTHER = "Now click the same point in the other canvas"


class PointLandmarks:
    """Edits the landmarks that are no somata; each edit is one event, and undo is an event too.

    Parameters
    ----------
    session : Session
        Where the project lives.
    questions : Questions
        Lets both canvases look at a landmark.

    Attributes
    ----------
    placing : bool
        Whether a click in a canvas places a landmark, rather than to ask about a soma.
    begun : tuple of (str, Vec3) or None
        The dataset and place of the point that has been clicked on one side only.
    sigma_um : float
        How exactly the next landmark is known.
    """

    changed = Signal()

    def __init__(self, session: Session, questions: Questions) -> None:
        self.placing = False
        self.begun: tuple[str, Vec3] | None = None
        self.sigma_um = DEFAULT_SIGMA_UM
        self._session = session
        self._questions = questions
        session.project_changed.connect(self._on_project_changed)
        session.verdicts_changed.connect(self.changed.emit)

    @property
    def living(self) -> dict[str, PointLandmark]:
        """The project's landmarks, by uid."""
        project = self._session.project
        return {} if project is None else dict(project.state().landmarks.living)

    def places_um(self, dataset: str) -> dict[str, Vec3]:
        """Return where the landmarks of a dataset lie, by uid, µm (z, y, x)."""
        found = self.living.items()
        return {uid: mark.place_um(dataset) for uid, mark in found if dataset in mark.datasets}

    def at(self, dataset: str, position_um: Vec3, depth_axis: int) -> str | None:
        """Return the landmark under the mouse; None where there is none.

        Parameters
        ----------
        dataset, position_um
            Where, µm (z, y, x).
        depth_axis : int
            The axis that the canvas looks along.
        """
        places = self.places_um(dataset)
        offsets = np.array(list(places.values())).reshape(-1, 3) - np.asarray(position_um)
        far = np.abs(offsets[:, depth_axis]) > CLICK_HALF_SLAB_UM
        away = np.linalg.norm(np.delete(offsets, depth_axis, axis=1), axis=1)
        away[far] = np.inf
        if not len(away) or away.min() > CLICK_RADIUS_UM:
            return None
        return list(places)[int(away.argmin())]

    # --- what a person does ----------------------------------------------------------------

    def toggle(self) -> None:
        """Begin to place landmarks by clicks, or end it."""

        def begin() -> None:
            self._session.require_project()
            self.placing, self.begun = not self.placing, None
            self.changed.emit()
            self._session.notify(_BEGUN if self.placing else "")

        self._session.attempt(begin)

    def place(self, dataset: str, position_um: Vec3) -> None:
        """Take a click in a canvas: the first one begins a landmark, one on the other side ends it.

        Parameters
        ----------
        dataset, position_um
            Where, µm (z, y, x); a second click on the same side corrects the first.
        """
        if self.begun is None or self.begun[0] == dataset:
            self.begun = dataset, position_um
            self.changed.emit()
            self._session.notify(_OTHER)
            return
        places = {self.begun[0]: [self.begun[1]], dataset: [position_um]}

        def place() -> None:
            project, annotator = self._session.require_project(), self._session.annotator
            (uid,) = place_landmarks(project, places, sigma_um=self.sigma_um, annotator=annotator)
            self.begun = None
            self._tell(f"placed landmark {uid}")
            self._offer_pair(project, uid)

        self._session.attempt(place)

    def move(self, uid: str, dataset: str, position_um: Vec3) -> None:
        """Put a landmark elsewhere on one side, µm (z, y, x)."""
        self._change(uid, f"moved landmark {uid}", places_um={dataset: position_um})

    def set_sigma(self, sigma_um: float, uids: Sequence[str] = ()) -> None:
        """Say how exactly some landmarks are known, and the next one."""
        self.sigma_um = sigma_um
        for uid in uids:
            mark = self.living.get(uid)
            if mark is not None and mark.sigma_um != sigma_um:
                self._change(uid, f"landmark {uid}: σ {sigma_um:g} µm", sigma_um=sigma_um)
        self.changed.emit()

    def delete(self, uids: Sequence[str]) -> None:
        """Remove landmarks, in one step of undo."""

        def delete() -> None:
            project, annotator = self._session.require_project(), self._session.annotator
            if not uids:
                raise InputError("Select a landmark in the table first.")
            delete_landmarks(project, uids, annotator=annotator)
            self._tell(f"deleted {', '.join(uids)}; press Z to undo")

        self._session.attempt(delete)

    def look_at(self, uid: str) -> None:
        """Let both canvases show a landmark."""
        mark = self.living.get(uid)
        if mark is not None:
            for dataset, place in zip(mark.datasets, mark.places_um, strict=True):
                self._questions.look_requested.emit(dataset, place)

    # --- inside ----------------------------------------------------------------------

    def _change(
        self,
        uid: str,
        told: str,
        *,
        places_um: Mapping[str, Vec3] | None = None,
        sigma_um: float | None = None,
    ) -> None:
        def write() -> None:
            change_landmark(
                self._session.require_project(),
                uid,
                places_um=places_um,
                sigma_um=sigma_um,
                annotator=self._session.annotator,
            )
            self._tell(told)

        self._session.attempt(write)

    def _offer_pair(self, project: Project, uid: str) -> None:
        """Offer to accept the somata that a landmark lies on as a pair in its place."""
        mark = project.state().landmarks.living[uid]
        somata = [
            _nearest_soma(project, dataset, place)
            for dataset, place in zip(mark.datasets, mark.places_um, strict=True)
        ]
        first, second = somata
        if first is None or second is None:
            return

        def snap(*, force: bool = False) -> None:
            annotator = self._session.annotator
            replace_by_pair(project, uid, (first, second), annotator=annotator, force=force)
            self._tell(f"accepted {first} ↔ {second} in place of landmark {uid}")

        attempt = self._session.attempt
        forced = Remedy("Replace it", lambda: attempt(lambda: snap(force=True)))
        remedy = Remedy("Snap to soma", lambda: attempt(snap, forced))
        told = f"placed landmark {uid}, which lies on the somata {first} and {second}"
        self._session.notified.emit(Notice(told, remedy=remedy))

    def _tell(self, text: str) -> None:
        self._session.verdicts_changed.emit()
        self._session.notify(text)

    def _on_project_changed(self, _: object) -> None:
        self.placing, self.begun = False, None
        self.changed.emit()


def _nearest_soma(project: Project, dataset: str, place_um: Vec3) -> str | None:
    somata = project.state().somata.get(dataset, {})
    if not somata:
        return None
    centers = np.array([soma.center_um for soma in somata.values()])
    away = np.linalg.norm(centers - np.asarray(place_um), axis=1)
    nearest = int(away.argmin())
    return list(somata)[nearest] if away[nearest] <= SNAP_UM else None
