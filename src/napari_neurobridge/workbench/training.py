"""Training from the docks: what it rests on, its curves, what came of it, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_neurobridge.workbench.job_status import JobState
from napari_neurobridge.workflows.adopt import adopt_model, roll_back
from napari_neurobridge.workflows.training_history import (
    TrainedVersion,
    TrainingOutlook,
    training_history,
    training_outlook,
)
from napari_neurobridge.workflows.training_log import LOG_FILE, TrainingLog, read_training_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_neurobridge.models.current import UsableModel
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workbench.indexing import Indexing
    from napari_neurobridge.workbench.job_status import JobStatus
    from napari_neurobridge.workbench.session import Session

TRAIN_JOB = "train"
_LOOK = "training outlook"


@dataclass(frozen=True)
class TrainingChoice:
    """What a person chose to be trained.

    Attributes
    ----------
    strategy : str
        Which weights change.
    epochs : int
        How often each pair is seen; 0 for the usual number of steps.
    free_labels : bool
        Whether pairs that are claimed from places alone are learned, too.
    """

    strategy: str = "dual-channel"
    epochs: int = 0
    free_labels: bool = False


@dataclass(frozen=True)
class TrainingOutcome:
    """What came of the last training of this window.

    Attributes
    ----------
    model : str
        Name of the new model.
    adopted : bool
    reason : str
        Why it was adopted or not, in a sentence.
    n_test : int
        Pairs that it was compared on.
    right_before, right_after : int
        Of those, how many have their partner first.
    """

    model: str
    adopted: bool
    reason: str
    n_test: int
    right_before: int
    right_after: int


class Training:
    """Trains the project's model in the background, and goes over to another model, and back.

    Parameters
    ----------
    session : Session
        Where the project lives.
    indexing : Indexing
        Embeds the cells anew for another model.

    Attributes
    ----------
    settings : TrainingChoice
        What `start` trains.
    outlook : TrainingOutlook or None
        ``None`` until somebody looked.
    history : tuple of TrainedVersion
    log : TrainingLog or None
        Of the training that began last in this project, in whichever window.
    outcome : TrainingOutcome or None
    """

    changed = Signal()
    log_changed = Signal()

    def __init__(self, session: Session, indexing: Indexing) -> None:
        self.settings = TrainingChoice()
        self.outlook: TrainingOutlook | None = None
        self.history: tuple[TrainedVersion, ...] = ()
        self.log: TrainingLog | None = None
        self.outcome: TrainingOutcome | None = None
        self._session = session
        self._indexing = indexing
        self._looks = False
        session.project_changed.connect(self._on_project_changed)
        session.verdicts_changed.connect(self._refresh)
        session.orientation_changed.connect(self._refresh)
        session.job_changed.connect(self._on_job_changed)
        indexing.changed.connect(self.changed.emit)

    # --- what views may ask ----------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether a training runs, or waits for its turn."""
        jobs = self._session.jobs
        return TRAIN_JOB in (*jobs.running(), *jobs.waiting())

    @property
    def can_start(self) -> bool:
        """Whether there is enough to learn from, and nothing is learned yet."""
        return not self.running and self.outlook is not None and self.outlook.problem is None

    @property
    def stopped_at(self) -> TrainingLog | None:
        """The log of a training that neither runs nor came to its end."""
        return None if self.running or self.log is None or self.log.ended else self.log

    @property
    def can_roll_back(self) -> bool:
        """Whether the project has gone over to a model that it can return from."""
        return any(version.is_current and version.adopted for version in self.history)

    @property
    def stale(self) -> str:
        """The model that rankings still come from, where it is not the current one."""
        state = self._indexing.state
        return "" if state is None else state.ranked_with

    # --- what a person does ----------------------------------------------------------------

    def look(self, looks: bool) -> None:
        """Keep the outlook up to date while somebody looks at it."""
        self._looks = looks
        if looks:
            self._refresh()

    def choose(self, choice: TrainingChoice) -> None:
        """Train so from now on."""
        self.settings = choice

    def start(self) -> None:
        """Train in a child process; the same choice goes on where it was stopped."""

        def begin() -> None:
            project, choice = self._session.require_project(), self.settings
            arguments = ["train", str(project.path), "--strategy", choice.strategy]
            arguments += ["--epochs", str(choice.epochs)] if choice.epochs else []
            arguments += ["--free-labels"] if choice.free_labels else []
            self.outcome = None
            self._session.jobs.start(
                TRAIN_JOB,
                arguments,
                partial(self._take, project),
                on_stopped=self._on_stopped,
                title="Training",
                in_turn=True,
            )
            self.changed.emit()

        self._session.attempt(begin, about="train")

    def cancel(self) -> None:
        """Stop the training; it goes on from its last checkpoint when it is started again."""
        self._session.jobs.cancel(TRAIN_JOB)

    def use(self, name: str) -> None:
        """Go over to a model of the history."""
        self._go_over(lambda project, me: adopt_model(project, name, annotator=me))

    def roll_back(self) -> None:
        """Return to the model before the current one."""
        self._go_over(lambda project, me: roll_back(project, annotator=me))

    # --- inside ------------------------------------------------------------------------

    def _go_over(self, step: Callable[[Project, str], UsableModel]) -> None:
        def go() -> None:
            project = self._session.require_project()
            model = step(project, self._session.annotator)
            self._follow(project)
            self._session.notify(f"The project uses {model.name} now.")

        self._session.attempt(go, about="another model")

    def _take(self, project: Project, result: dict[str, Any]) -> None:
        if self._session.project is not project:
            return
        n_test = int(result["n_test"])
        first = [round(n_test * result[side]["topk_scene"]["1"]) for side in ("before", "after")]
        name = str(result["model"]).replace("\\", "/").rsplit("/", 1)[-1]
        self.outcome = TrainingOutcome(
            name, bool(result["adopted"]), str(result["reason"]), n_test, *first
        )
        if self.outcome.adopted:
            self._follow(project)
        else:
            self._refresh()
        done = "adopted" if self.outcome.adopted else "kept, but not adopted"
        self._session.notify(f"{name} was trained and {done}.")

    def _follow(self, project: Project) -> None:
        """Let rankings follow the project's model: at once, or when all cells are embedded."""
        self._session.verdicts_changed.emit()
        self._session.index_changed.emit()
        self._indexing.start_missing(project)

    def _on_stopped(self) -> None:
        self._read_log()
        self._session.notify(
            "The training was cancelled. Nothing has changed; the same choice goes on from there."
        )
        self.changed.emit()

    def _on_job_changed(self, status: JobStatus) -> None:
        if status.name != TRAIN_JOB:
            return
        if status.state is not JobState.WAITING:
            self._read_log()
        if status.state.over or status.done == 0:
            self.changed.emit()

    def _read_log(self) -> None:
        project = self._session.project
        log = None if project is None else read_training_log(project.runs_dir / LOG_FILE)
        if log != self.log:
            self.log = log
            self.log_changed.emit()

    def _refresh(self, _: object = None) -> None:
        """Count pairs and models anew, in the background."""
        project = self._session.project
        if project is None or not self._looks:
            return

        def take(found: tuple[TrainingOutlook, tuple[TrainedVersion, ...]]) -> None:
            self.outlook, self.history = found
            self.changed.emit()

        self._session.jobs.submit(
            _LOOK,
            lambda: (training_outlook(project), training_history(project)),
            take,
            self._session.show_error,
            beside=True,
        )

    def _on_project_changed(self, _: object) -> None:
        self._session.jobs.forget(_LOOK)
        self.outlook, self.outcome, self.history = None, None, ()
        self._read_log()
        self._refresh()
        self.changed.emit()
