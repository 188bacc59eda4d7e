"""What everything in a workbench shares: the open project, the jobs, and one voice."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import EmitLoopError, Signal

from napari_neurobridge.errors import ErrorKind, InputError, InvalidActionError, NeuroBridgeError
from napari_neurobridge.project.log.events import default_annotator
from napari_neurobridge.workbench.job_status import JobState, JobStatus
from napari_neurobridge.workbench.jobs import Dispatch, JobRunner, call_directly
from napari_neurobridge.workbench.remedies import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Soma


@dataclass(frozen=True, slots=True)
class Remedy:
    """What a button beside a notice does.

    Attributes
    ----------
    label : str
        The button's words.
    apply : callable
        Does it, to what was refused and nothing else.
    """

    label: str
    apply: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Notice:
    """One sentence for the status line.

    Attributes
    ----------
    remedy : Remedy or None
        A way out that the user may choose, such as doing it all the same.
    about : str
        The action that an error met; when it succeeds later, the error is taken back.
    """

    text: str
    is_error: bool = False
    remedy: Remedy | None = None
    about: str = ""


class Session:
    """The open project and the signals that say what changed in it.

    Parameters
    ----------
    dispatch : callable, optional
        Runs a callback on the main thread; see `JobRunner`.
    annotator : str, optional
        Name written into each event; the login name by default.
    """

    project_changed = Signal(object)
    orientation_changed = Signal()
    somata_changed = Signal(str)
    verdicts_changed = Signal()
    index_changed = Signal()
    job_changed = Signal(object)
    notified = Signal(object)

    def __init__(self, dispatch: Dispatch = call_directly, annotator: str | None = None) -> None:
        self.annotator = annotator or default_annotator()
        self.jobs = JobRunner(dispatch, self._on_job_status, answering=self._answering)
        self.project: Project | None = None
        self._acting = ""
        self._latest = Notice("")
        self.notified.connect(self._on_notified)

    def require_project(self) -> Project:
        """Return the open project; raises `InputError` when there is none."""
        if self.project is None:
            raise InputError("No project is open.", kind=ErrorKind.NO_PROJECT)
        return self.project

    def set_project(self, project: Project | None) -> None:
        """Open a project, or none."""
        if self._latest.is_error:  # it was about what is no longer there
            self.notified.emit(Notice(""))
        self.project = project
        self.project_changed.emit(project)
        self.verdicts_changed.emit()

    def somata_were_changed(self, dataset: str) -> None:
        """Tell everybody that a dataset's somata are no longer what they were."""
        self.somata_changed.emit(dataset)
        self.verdicts_changed.emit()

    def tell_changed_somata(self, before: Mapping[str, Mapping[str, Soma]]) -> None:
        """Tell of each dataset whose somata, by dataset and uid, are others than before."""
        project = self.require_project()
        after = project.state().somata
        for dataset in project.datasets:
            if after.get(dataset) != before.get(dataset):
                self.somata_changed.emit(dataset)

    def notify(self, text: str) -> None:
        """Tell the user what happened."""
        self.notified.emit(Notice(text))

    def show_error(self, error: NeuroBridgeError) -> None:
        """Tell the user what went wrong."""
        self.notified.emit(Notice(explain(error), is_error=True, about=self._acting))

    def attempt(
        self, action: Callable[[], None], remedy: Remedy | None = None, *, about: str = ""
    ) -> None:
        """Run an action; what it refuses becomes a notice, which stands until it succeeds.

        Parameters
        ----------
        action : callable
            May raise any `NeuroBridgeError`.
        remedy : Remedy, optional
            Offered to the user when the action was refused but may be forced.
        about : str, optional
            Tells the action from others that the same code makes.
        """
        with self._answering(about or getattr(action, "func", action).__qualname__):
            try:
                action()
            except InvalidActionError as error:
                way_out = remedy if error.forceable else None
                self.notified.emit(Notice(explain(error), True, way_out, self._acting))
            except NeuroBridgeError as error:
                self.show_error(error)
            except EmitLoopError as error:
                # psygnal wraps what a listener raised.
                if not isinstance(error.__cause__, NeuroBridgeError):
                    raise
                self.show_error(error.__cause__)

    @contextmanager
    def _answering(self, about: str) -> Iterator[None]:
        """Take back the error that an action met before, unless something else is said inside."""
        before, self._acting = self._acting, about
        earlier = self._latest if self._latest.is_error and self._latest.about == about else None
        try:
            yield
        finally:
            self._acting = before
        if earlier is self._latest:
            self.notified.emit(Notice(""))

    def _on_notified(self, notice: Notice) -> None:
        self._latest = notice

    def _on_job_status(self, status: JobStatus) -> None:
        about = f"job {status.name}"
        with self._answering(about):
            self.job_changed.emit(status)
            # Whoever follows a thread tells himself what went wrong.
            if status.state is JobState.FAILED and status.message:
                self.notified.emit(Notice(status.message, is_error=True, about=about))
