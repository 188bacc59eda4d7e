"""What the Insight dock shows: how well the model does, and where it looks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from psygnal import Signal

from napari_neurobridge.errors import InputError
from napari_neurobridge.insight import figures
from napari_neurobridge.insight.evaluation import (
    FEWEST_TO_EVALUATE,
    Evaluation,
    Progress,
    compare_in_steps,
)
from napari_neurobridge.matching.calibration import audits_of, reliability
from napari_neurobridge.workbench.insight_steps import (
    Attention,
    Channel,
    Subject,
    evaluate_subject_in_steps,
    explain_in_steps,
)
from napari_neurobridge.workbench.remedies import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from matplotlib.figure import Figure

    from napari_neurobridge.errors import NeuroBridgeError
    from napari_neurobridge.matching.calibration import Audit, Reliability
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workbench.answers import Query
    from napari_neurobridge.workbench.models import EncoderCache
    from napari_neurobridge.workbench.questions import Questions
    from napari_neurobridge.workbench.session import Session
    from napari_neurobridge.workbench.snapshot import QuestionSnapshot

T = TypeVar("T")

_Asked: TypeAlias = "tuple[Query | None, str | None]"

FEWEST_SHOWN = 5
"""Audits that a reliability diagram needs; fewer say nothing at all."""

REPORT_JOB = "report"
_RELIABILITY_BINS = 5
_KEY = "insight"


class Insights:
    """Evaluates the model on the accepted pairs, and explains single similarities.

    One piece of work runs at a time; a newer one takes the place of an older.

    Parameters
    ----------
    session : Session
        Where the project lives.
    questions : Questions
        What is being asked, and which candidate is picked.
    encoders : EncoderCache
        Loads the model that is looked into.

    Attributes
    ----------
    evaluation : Evaluation or None
        ``None`` until somebody asked for it.
    subject : Subject or None
        The pairs that it is about, in its order.
    attention : Attention or None
        About the picked candidate; ``None`` as soon as another one is picked.
    progress : Progress or None
        ``None`` while nothing runs.
    problem : str
        Why the last piece of work came to nothing; empty while there is hope.
    shown_channels : frozenset of Channel
        Whose maps lie over the canvases.
    """

    evaluation_changed = Signal(object)
    attention_changed = Signal(object)
    progress_changed = Signal(object)
    subject_changed = Signal()
    shown_channels_changed = Signal(object)

    def __init__(self, session: Session, questions: Questions, encoders: EncoderCache) -> None:
        self.evaluation: Evaluation | None = None
        self.subject: Subject | None = None
        self.attention: Attention | None = None
        self.progress: Progress | None = None
        self.problem = ""
        self.shown_channels = frozenset(Channel)
        self._session = session
        self._questions = questions
        self._encoders = encoders
        self._explained: _Asked | None = None
        self._last_asked: _Asked = (None, None)
        session.project_changed.connect(self._on_project_changed)
        session.verdicts_changed.connect(self._on_verdicts_changed)
        session.orientation_changed.connect(self._on_crops_changed)
        session.somata_changed.connect(self._on_crops_changed)
        questions.snapshot_changed.connect(self._on_snapshot_changed)

    # --- what there is to look into --------------------------------------------------

    @property
    def n_pairs(self) -> int:
        """How many accepted pairs the project holds."""
        project = self._session.project
        return 0 if project is None else len(Subject.of_project(project).pairs)

    @property
    def can_evaluate(self) -> bool:
        """Whether there are enough pairs."""
        return self.n_pairs >= FEWEST_TO_EVALUATE

    @property
    def n_audits(self) -> int:
        """How many audit questions were answered."""
        return len(self._audits())

    @property
    def reliability(self) -> Reliability | None:
        """How often the first candidate was right, over its probability; None with few audits."""
        audits = self._audits()
        if len(audits) < FEWEST_SHOWN:
            return None
        return reliability(
            [audit.probability for audit in audits],
            [audit.right for audit in audits],
            bins=_RELIABILITY_BINS,
        )

    def _audits(self) -> list[Audit]:
        project = self._session.project
        if project is None:
            return []
        return audits_of(project.state(), project.in_vivo(), project.ex_vivo())

    @property
    def is_outdated(self) -> bool:
        """Whether pairs, orientation or model are others now than those that were evaluated."""
        project = self._session.project
        if project is None or self.evaluation is None:
            return False
        return self.subject != Subject.of_project(project)

    @property
    def selected_row(self) -> int | None:
        """Which evaluated pair is being asked about; None in an audit, where it would tell."""
        query = self._questions.query
        if query is None or query.audit:
            return None
        return self._row_of(query.uid)

    def _row_of(self, uid: str | None) -> int | None:
        pairs = enumerate(() if self.subject is None else self.subject.pairs)
        return next((row for row, pair in pairs if uid in {soma.uid for soma in pair}), None)

    @property
    def hidden_row(self) -> int | None:
        """Which evaluated pair must not be seen: one that is being asked about blindly."""
        query = self._questions.query
        if query is None or not query.audit:
            return None
        return self._row_of(query.uid)

    @property
    def can_explain(self) -> bool:
        """Whether a candidate is picked whose similarity can be explained."""
        return self._questions.snapshot.picked is not None

    # --- looking ---------------------------------------------------------------------

    def evaluate(self) -> None:
        """Evaluate the model on the accepted pairs."""

        def start() -> None:
            project = self._session.require_project()
            subject = Subject.of_project(project)

            def steps() -> Iterator[Progress | Evaluation]:
                encoder = self._encoders.current(project)
                yield from evaluate_subject_in_steps(project, encoder, subject)

            def show(found: Evaluation) -> None:
                self.subject = subject
                self._set_evaluation(found)

            self._run(steps(), show, "loading the model")

        self._session.attempt(start)

    def compare(self) -> None:
        """Compare the evaluated pairs by the plain measures, too."""
        if self.evaluation is not None:
            self._run(compare_in_steps(self.evaluation), self._set_evaluation, "comparing")

    def explain(self) -> None:
        """Work out where each channel looks, for the query and the picked candidate."""

        def start() -> None:
            project = self._session.require_project()
            snapshot = self._questions.snapshot
            if snapshot.picked is None:
                raise InputError("Click a two-photon cell first, then pick a candidate.")

            def steps() -> Iterator[Progress | Attention]:
                encoder = self._encoders.ranking(project)
                yield from explain_in_steps(project, encoder, snapshot)

            self._set_attention(None)
            self._run(steps(), self._set_attention, "loading the model")
            self._explained = snapshot.asked

        self._session.attempt(start)

    def show_channel(self, channel: Channel, shown: bool) -> None:
        """Lay a channel's maps over the canvases, or take them away."""
        changed = {channel}
        self.shown_channels = (
            self.shown_channels | changed if shown else self.shown_channels - changed
        )
        self.shown_channels_changed.emit(self.shown_channels)

    def cancel(self) -> None:
        """Stop whatever runs; what was there before stays."""
        self._session.jobs.forget(_KEY)
        self._session.jobs.cancel(REPORT_JOB)
        self._show_progress(None)

    def select(self, row: int, *, fmost: bool) -> None:
        """Ask about a cell of an evaluated pair.

        Parameters
        ----------
        row : int
            Which pair.
        fmost : bool
            The fMOST cell of the pair, not the two-photon one.
        """
        project = self._session.project
        if project is None or self.subject is None:
            return
        soma = self.subject.pairs[row][fmost]
        self._questions.select(soma.dataset, soma.uid)

    def save_figure(
        self, draw: Callable[[], Figure | None], path: Path, *, otherwise: str = ""
    ) -> None:
        """Draw a figure and write it as a file, in the background.

        Parameters
        ----------
        draw : callable
            Returns the figure; None where there is nothing to draw.
        path : Path
            Its suffix says the format.
        otherwise : str
            What to tell where there is nothing to draw.
        """

        def write() -> Path | None:
            figure = draw()
            return None if figure is None else figures.save_figure(figure, path)

        def tell(written: Path | None) -> None:
            self._session.notify(otherwise if written is None else f"wrote {written}")

        self._session.jobs.submit("save figure", write, tell, self._session.show_error)

    def export_report(self, path: Path) -> None:
        """Write the report of the accepted pairs, in a child process."""

        def start() -> None:
            folder = str(self._session.require_project().path)
            self._session.jobs.start(
                REPORT_JOB,
                ["export", folder, str(path), "--format", "report"],
                lambda result: self._session.notify(f"wrote {', '.join(result['files'])}"),
            )

        self._session.attempt(start)

    # --- inside ----------------------------------------------------------------------

    def _run(
        self, steps: Iterator[Progress | T], finish: Callable[[T], None], message: str
    ) -> None:
        """Take step after step off the main thread, each a job of its own."""

        def ask() -> None:
            self._session.jobs.submit(_KEY, partial(next, steps), take, fail)

        def take(step: Progress | T) -> None:
            if isinstance(step, Progress):
                self._show_progress(step)
                ask()
            else:
                self._show_progress(None)
                finish(step)

        def fail(error: NeuroBridgeError) -> None:
            self.problem = explain(error)
            self._show_progress(None)
            self._session.show_error(error)

        self.problem = ""
        if self.attention is None:
            self._explained = None  # whatever was on its way is dropped
        self._show_progress(Progress(0, 0, message))
        ask()

    def _show_progress(self, progress: Progress | None) -> None:
        self.progress = progress
        self.progress_changed.emit(progress)

    def _set_evaluation(self, evaluation: Evaluation | None) -> None:
        self.evaluation = evaluation
        self.evaluation_changed.emit(evaluation)

    def _set_attention(self, attention: Attention | None) -> None:
        self.attention = attention
        self.attention_changed.emit(attention)

    def _on_project_changed(self, _: Project | None) -> None:
        self._session.jobs.forget(_KEY)
        self.problem, self._explained = "", None
        self._show_progress(None)
        self.subject = None
        self._set_evaluation(None)
        self._set_attention(None)

    def _on_verdicts_changed(self) -> None:
        self.subject_changed.emit()

    def _on_crops_changed(self, _: str = "") -> None:
        # The maps lie over crops that are cut elsewhere now.
        self._forget_attention()
        self.subject_changed.emit()

    def _on_snapshot_changed(self, snapshot: QuestionSnapshot) -> None:
        if snapshot.asked == self._last_asked:
            return
        self._last_asked = snapshot.asked
        if snapshot.asked != self._explained:
            self._forget_attention()
        self.subject_changed.emit()

    def _forget_attention(self) -> None:
        if self._explained is None:
            return
        self._explained = None
        if self.attention is not None:
            self._set_attention(None)
        else:  # it is still on its way
            self._session.jobs.forget(_KEY)
            self._show_progress(None)
