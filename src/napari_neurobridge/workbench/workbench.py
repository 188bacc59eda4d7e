"""The state that the docks and canvases of one viewer share, without Qt or napari."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_neurobridge.workbench.activity import CellActivity
from napari_neurobridge.workbench.answers import N_SHOWN
from napari_neurobridge.workbench.contact_sheet import ContactSheet
from napari_neurobridge.workbench.decisions import Decisions
from napari_neurobridge.workbench.detection_runs import DetectionRuns
from napari_neurobridge.workbench.exports import Exports
from napari_neurobridge.workbench.finder import Finder
from napari_neurobridge.workbench.ghost import GhostCursor
from napari_neurobridge.workbench.imports import Imports
from napari_neurobridge.workbench.indexing import Indexing
from napari_neurobridge.workbench.insights import Insights
from napari_neurobridge.workbench.jobs import Dispatch, call_directly
from napari_neurobridge.workbench.layers_in import LayersIn
from napari_neurobridge.workbench.magnifier import Magnifier
from napari_neurobridge.workbench.matches import Matches
from napari_neurobridge.workbench.models import EncoderCache
from napari_neurobridge.workbench.overlay import Overlay
from napari_neurobridge.workbench.painting import Painting
from napari_neurobridge.workbench.pair_table import PairTable
from napari_neurobridge.workbench.plane import PlaneView
from napari_neurobridge.workbench.point_landmarks import PointLandmarks
from napari_neurobridge.workbench.preview import Preview
from napari_neurobridge.workbench.questions import Questions
from napari_neurobridge.workbench.queue_choice import QueueChoice
from napari_neurobridge.workbench.recent import RecentProjects
from napari_neurobridge.workbench.registering import Registering
from napari_neurobridge.workbench.session import Session
from napari_neurobridge.workbench.setup import Setup
from napari_neurobridge.workbench.soma_registration import SomaRegistration
from napari_neurobridge.workbench.stop_advice import StopAdvice
from napari_neurobridge.workbench.training import Training
from napari_neurobridge.workbench.verdicts import Verdicts
from napari_neurobridge.workbench.visits import Visits
from napari_neurobridge.workbench.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.presence import Visitor


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
    indexing : Indexing
        How far the index is; embeds what was added since.
    setup : Setup
        From two files to an indexed project.
    detection : DetectionRuns
        Somata found by a detector, and taken back.
    painting : Painting
        Labels painted over an image, and the detector that learns from them.
    imports : Imports
        What other programs found and say.
    layers_in : LayersIn
        What already lies in the viewer.
    matches : Matches
        All cells matched at once, kept up to date.
    queue_choice : QueueChoice
        By what strategy a person wants to be asked.
    questions : Questions
        The queried cell, its candidates, and the one that is picked.
    plane : PlaneView
        The plane of one side as a surface in the other's space.
    overlay : Overlay
        The ex-vivo image over the in-vivo one.
    ghost : GhostCursor
        The place under the mouse, on the other side.
    landmarks : PointLandmarks
        Landmarks that are no somata.
    magnifier : Magnifier
        The tissue around the mouse, while these are placed.
    verdicts : Verdicts
        What a person decides.
    decisions : Decisions
        The latest of those, to be taken back.
    pairs : PairTable
        All decisions and claims in one table.
    finder : Finder
        Cells by name or place.
    visits : Visits
        The asked cells, to go back and forth.
    contact_sheet : ContactSheet
        Claimed pairs, a page at a time, and random checks of them.
    activity : CellActivity
        The queried cell over time, where its side is a recording.
    preview : Preview
        What a verdict would change.
    insights : Insights
        How well the model does, and where it looks.
    training : Training
        The model trained on the accepted pairs, and taken back.
    exports : Exports
        Tables, and figures of pairs.
    registering : Registering
        Two images of the viewer, registered without a project.
    soma_registration : SomaRegistration
        The project, registered by its somata.
    watch : Watch
        What other windows do in the same project.
    stop_advice : StopAdvice
        Says when further answers hardly change anything.
    """

    def __init__(self, dispatch: Dispatch = call_directly, annotator: str | None = None) -> None:
        encoders = EncoderCache()
        self.session = Session(dispatch, annotator)
        self.recent = RecentProjects(self.session)
        self.imports = Imports(self.session)
        self.indexing = Indexing(self.session, encoders)
        self.setup = Setup(self.session, self.indexing, self.imports)
        self.layers_in = LayersIn(self.session, self.setup)
        self.detection = DetectionRuns(self.session)
        self.painting = Painting(self.session, self.detection)
        self.matches = Matches(self.session, encoders)
        self.queue_choice = QueueChoice(self.session)
        self.questions = Questions(self.session, encoders, self.matches, self.queue_choice)
        self.plane = PlaneView(self.session, self.matches, self.questions)
        self.overlay = Overlay(self.session, self.matches, self.questions)
        self.ghost = GhostCursor(self.session, self.matches, self.questions)
        self.verdicts = Verdicts(self.session, self.questions)
        self.decisions = Decisions(self.session, self.verdicts)
        self.landmarks = PointLandmarks(self.session, self.questions)
        self.magnifier = Magnifier(self.session, self.ghost, self.landmarks)
        self.pairs = PairTable(self.session, self.matches, self.questions, self.landmarks)
        self.finder = Finder(self.session, self.questions)
        self.visits = Visits(self.session, self.questions)
        self.contact_sheet = ContactSheet(self.session, self.matches, self.questions, self.verdicts)
        self.activity = CellActivity(self.session, self.questions)
        self.preview = Preview(self.session, encoders, self.matches, self.questions)
        self.insights = Insights(self.session, self.questions, encoders)
        self.training = Training(self.session, self.indexing)
        self.exports = Exports(self.session, self.questions)
        self.registering = Registering(self.session)
        self.soma_registration = SomaRegistration(self.session)
        self.watch = Watch(self.session)
        self.stop_advice = StopAdvice(self.session, self.matches)
        self.watch.others_changed.connect(self._on_others_changed)

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
            "P": self.preview.toggle,
            "L": self.landmarks.toggle,
            "Space": self.questions.next_query,
            "Z": self.verdicts.undo,
            "Shift+Z": self.verdicts.redo,
            "Ctrl+Z": self.verdicts.undo,
            "Ctrl+Shift+Z": self.verdicts.redo,
            "Ctrl+F": self.finder.request,
            "Alt+Left": self.visits.back,
            "Alt+Right": self.visits.forward,
        }
        for digit in range(N_SHOWN + 1):  # 0 is none of these
            actions[str(digit)] = partial(self.questions.choose, digit)
        return actions

    def _on_others_changed(self, others: tuple[Visitor, ...]) -> None:
        self.queue_choice.take_others(other.annotator for other in others)

    def close(self) -> None:
        """Stop all work; called when the viewer closes."""
        self.watch.close()
        self.painting.close()
        self.session.jobs.close()
