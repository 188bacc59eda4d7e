"""What everything in a workbench shares: the open project, the jobs, and one voice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import EmitLoopError, Signal

from napari_neurobridge.errors import ErrorKind, InputError, InvalidActionError, NeuroBridgeError
from napari_neurobridge.project.log.events import default_annotator
from napari_neurobridge.workbench.job_status import JobState, JobStatus
from napari_neurobridge.workbench.jobs import Dispatch, JobRunner, call_directly
from napari_neurobridge.workbench.remedies import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    """

    text: str
    is_error: bool = False
    remedy: Remedy | None = None


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
        self.jobs = JobRunner(dispatch, self._on_job_status)
        self.project: Project | None = None

    def require_project(self) -> Project:
        """Return the open project; raises `InputError` when there is none."""
        if self.project is None:
            raise InputError("No project is open.", kind=ErrorKind.NO_PROJECT)
        return self.project

    def set_project(self, project: Project | None) -> None:
        """Open a project, or none."""
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
        self.notified.emit(Notice(explain(error), is_error=True))

    def attempt(self, action: Callable[[], None], remedy: Remedy | None = None) -> None:
        """Run an action; what it refuses becomes a notice.

        Parameters
        ----------
        action : callable
            May raise any `NeuroBridgeError`.
        remedy : Remedy, optional
            Offered to the user when the action was refused but may be forced.
        """
        try:
            action()
        except InvalidActionError as error:
            self.notified.emit(Notice(explain(error), True, remedy if error.forceable else None))
        except NeuroBridgeError as error:
            self.show_error(error)
        except EmitLoopError as error:
            # psygnal wraps what a listener raised.
            if not isinstance(error.__cause__, NeuroBridgeError):
                raise
            self.show_error(error.__cause__)

    def _on_job_status(self, status: JobStatus) -> None:
        self.job_changed.emit(status)
        # Whoever follows a thread tells himself what went wrong.
        if status.state is JobState.FAILED and status.message:
            self.notified.emit(Notice(status.message, is_error=True))
