"""Where the place under the mouse is expected on the other side, while somebody wants to see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_neurobridge.errors import InputError
from napari_neurobridge.types import Expected

if TYPE_CHECKING:
    from napari_neurobridge.errors import NeuroBridgeError
    from napari_neurobridge.spaces.alignment import Alignment, InverseAlignment
    from napari_neurobridge.types import Vec3
    from napari_neurobridge.workbench.matches import Matches
    from napari_neurobridge.workbench.questions import Questions
    from napari_neurobridge.workbench.session import Session
    from napari_neurobridge.workbench.snapshot import QuestionSnapshot

_JOB = "ghost cursor"


@dataclass(frozen=True)
class GhostPlace:
    """Where the place under the mouse is expected on the other side.

    Attributes
    ----------
    dataset : str
        The other side.
    where : Expected
        In its space, as for a soma under the mouse.
    """

    dataset: str
    where: Expected


class GhostCursor:
    """Follows the mouse through the project's alignment, in both directions.

    There is none before anything but an orientation says how the sides lie, and none in a random
    check, where it would tell what the program expects.

    Parameters
    ----------
    session : Session
        Where the project lives.
    matches : Matches
        With each match the alignment is another.
    questions : Questions
        Whether the current one is a random check.

    Attributes
    ----------
    wanted : bool
        Whether somebody wants to see it.
    place : GhostPlace or None
        What is to be drawn.
    """

    changed = Signal()

    def __init__(self, session: Session, matches: Matches, questions: Questions) -> None:
        self.wanted = True
        self.place: GhostPlace | None = None
        self._session = session
        self._matches = matches
        self._shown: QuestionSnapshot = questions.snapshot
        self._alignment: Alignment | InverseAlignment | None = None
        self._mouse: tuple[str, Vec3] | None = None
        session.project_changed.connect(self._on_project_changed)
        matches.match_changed.connect(self._on_match_changed)
        questions.snapshot_changed.connect(self._on_snapshot_changed)

    @property
    def offered(self) -> bool:
        """Whether there is an alignment to follow."""
        return self._alignment is not None

    @property
    def mouse(self) -> tuple[str, Vec3] | None:
        """The dataset over which the mouse is, and the place, µm (z, y, x)."""
        return self._mouse

    def show(self, wanted: bool) -> None:
        """Show or hide it."""
        self.wanted = wanted
        self._find()

    def follow(self, dataset: str, position_um: Vec3) -> None:
        """Follow the mouse to a place of a side, µm (z, y, x)."""
        self._mouse = dataset, position_um
        self._find()

    def leave(self) -> None:
        """Follow no longer: the mouse has left the canvases."""
        self._mouse = None
        self._find()

    def _find(self) -> None:
        self.place = self._found()
        self.changed.emit()

    def _found(self) -> GhostPlace | None:
        alignment = self._alignment
        if alignment is None or self._mouse is None or not self.wanted or self._shown.blind:
            return None
        dataset, position = self._mouse
        way = alignment if dataset == alignment.source else alignment.inverse()
        try:
            mean, covariance = way.expect(np.array([position]))
        except InputError:  # it folds there
            return None
        first, second, third = (tuple(row) for row in covariance[0].tolist())
        return GhostPlace(way.target, Expected(tuple(mean[0].tolist()), (first, second, third)))

    # --- keeping up to date ----------------------------------------------------------------

    def _on_project_changed(self, _: object) -> None:
        self._mouse = None
        self._set(None)

    def _on_match_changed(self) -> None:
        """Take over the alignment of a new match; an older one stays until then."""
        project = self._session.project
        if project is None or self._matches.updating:
            return
        source, target = project.in_vivo(), project.ex_vivo()
        # What was still on its way is of an earlier match. A move of the mouse waits for no fit.
        self._session.jobs.submit(
            _JOB, lambda: project.alignment(source, target), self._set, self._refuse
        )

    def _set(self, alignment: Alignment | InverseAlignment | None) -> None:
        known = alignment is not None and alignment.made_from.known
        self._alignment = alignment if known else None
        self._find()

    def _refuse(self, _: NeuroBridgeError) -> None:
        # Whoever needs the alignment for more than this says why there is none.
        self._set(None)

    def _on_snapshot_changed(self, shown: QuestionSnapshot) -> None:
        blind, self._shown = self._shown.blind, shown
        if shown.blind != blind:
            self._find()


def depth_in_words(deeper_um: float, half_slab_um: float) -> str:
    """Return how far a place lies from a displayed slab, in words; empty within it.

    Parameters
    ----------
    deeper_um : float
        How much deeper it lies than the displayed plane, along the two-photon optical axis.
    half_slab_um : float
        Half of the displayed tissue's thickness.
    """
    if abs(deeper_um) <= half_slab_um:
        return ""
    return f"{abs(deeper_um):.0f} µm {'deeper' if deeper_um > 0 else 'shallower'}"
