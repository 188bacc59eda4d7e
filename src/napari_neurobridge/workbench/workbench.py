"""The state that the docks and canvases of one viewer share, without Qt or napari."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_neurobridge.workbench.answers import N_SHOWN
from napari_neurobridge.workbench.exports import Exports
from napari_neurobridge.workbench.imports import Imports
from napari_neurobridge.workbench.insights import Insights
from napari_neurobridge.workbench.jobs import Dispatch, call_directly
from napari_neurobridge.workbench.layers_in import LayersIn
from napari_neurobridge.workbench.matches import Matches
from napari_neurobridge.workbench.models import EncoderCache
from napari_neurobridge.workbench.plane import PlaneView
from napari_neurobridge.workbench.questions import Questions
from napari_neurobridge.workbench.recent import RecentProjects
from napari_neurobridge.workbench.session import Session
from napari_neurobridge.workbench.setup import Setup
from napari_neurobridge.workbench.verdicts import Verdicts
from napari_neurobridge.workbench.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_neurobridge.project.folder import Project


class Workbench:
    """Everything the docks show, and every action they offer.

    Views connect to the signals and call the methods; they never write the state.

    Parameters
    ----------
    dispatch : callable, optional
        Runs a callback on the main thread; see `JobRunner`.
    annotator : str, optional
        Name written into each event; the login name by default.

    Attributes
    ----------
    session : Session
        The open project, the jobs, and what changed.
    recent : RecentProjects
        What was open lately.
    setup : Setup
        From two files to an indexed project.
    imports : Imports
        What other programs found and say.
    layers_in : LayersIn
        What already lies in the viewer.
    matches : Matches
        All cells matched at once, kept up to date.
    questions : Questions
        The queried cell, its candidates, and the one that is picked.
    plane : PlaneView
        The plane of one side as a surface in the other's space.
    verdicts : Verdicts
        What a person decides.
    insights : Insights
        How well the model does, and where it looks.
    exports : Exports
        Tables, and figures of pairs.
    watch : Watch
        What other windows do in the same project.
    """

    def __init__(self, dispatch: Dispatch = call_directly, annotator: str | None = None) -> None:
        encoders = EncoderCache()
        self.session = Session(dispatch, annotator)
        self.recent = RecentProjects(self.session)
        self.imports = Imports(self.session)
        self.setup = Setup(self.session, encoders, self.imports)
        self.layers_in = LayersIn(self.session, self.setup)
        self.matches = Matches(self.session, encoders)
        self.questions = Questions(self.session, encoders, self.matches)
        self.plane = PlaneView(self.session, self.matches, self.questions)
        self.verdicts = Verdicts(self.session, self.questions)
        self.insights = Insights(self.session, self.questions, encoders)
        self.exports = Exports(self.session, self.questions)
        self.watch = Watch(self.session)

    @property
    def project(self) -> Project | None:
        """The open project."""
        return self.session.project

    def key_actions(self) -> dict[str, Callable[[], None]]:
        """Return what each key of the Match dock does."""
        actions: dict[str, Callable[[], None]] = {
            "A": self.verdicts.accept,
            "R": self.verdicts.reject,
            "U": self.verdicts.unsure,
            "N": self.verdicts.none,
            "F": self.questions.flicker,
            "Space": self.questions.next_query,
            "Z": self.verdicts.undo,
            "Shift+Z": self.verdicts.redo,
        }
        for digit in range(1, N_SHOWN + 1):
            actions[str(digit)] = partial(self.questions.choose, digit)
        return actions

    def close(self) -> None:
        """Stop all work; called when the viewer closes."""
        self.watch.close()
        self.session.jobs.close()
