"""The long jobs that run and wait: how far each is, how long it will take, and Cancel."""

from __future__ import annotations

from collections.abc import Collection

from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_neurobridge.workbench.job_status import JobState, JobStatus
from napari_neurobridge.workbench.workbench import Workbench


class JobRow(QWidget):
    """One job: its words, its bar, and the button that stops it."""

    def __init__(self, workbench: Workbench, name: str) -> None:
        super().__init__()
        key = name.replace(" ", "_")
        self.text = QLabel()
        self.text.setObjectName(f"job_text_{key}")
        self.text.setWordWrap(True)
        self.bar = QProgressBar()
        self.bar.setObjectName(f"progress_{key}")
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setObjectName(f"cancel_{key}")
        self.cancel_button.setToolTip("Stops this job; what it has finished is kept")
        self.cancel_button.clicked.connect(
            lambda _checked=False: workbench.session.jobs.cancel(name)
        )
        line = QHBoxLayout()
        line.addWidget(self.bar, stretch=1)
        line.addStretch(0)
        line.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.text)
        layout.addLayout(line)

    def show_status(self, status: JobStatus) -> None:
        """Show where the job stands."""
        self.text.setText(status.in_words())
        self.bar.setVisible(status.state is JobState.RUNNING)
        self.bar.setRange(0, status.total)
        self.bar.setValue(status.done)
        self.bar.setTextVisible(status.total > 0)


class JobList(QWidget):
    """A row for each long job; empty, and without height, where there is none.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the list draws its jobs.
    only : collection of str
        Names of the jobs to list; all unless given.
    without : collection of str
        Names of jobs that are listed elsewhere.
    """

    def __init__(
        self, workbench: Workbench, *, only: Collection[str] = (), without: Collection[str] = ()
    ) -> None:
        super().__init__()
        self.setObjectName("job_list")
        self._workbench = workbench
        self._only, self._without = frozenset(only), frozenset(without)
        self._rows: dict[str, JobRow] = {}
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        workbench.session.job_changed.connect(self._on_job_changed)
        for status in workbench.session.jobs.statuses():
            self._on_job_changed(status)

    def _on_job_changed(self, status: JobStatus) -> None:
        if status.name in self._without or (self._only and status.name not in self._only):
            return
        if status.state.over:
            if (row := self._rows.pop(status.name, None)) is not None:
                row.hide()
                row.deleteLater()
            return
        if status.name not in self._rows:
            self._rows[status.name] = JobRow(self._workbench, status.name)
            self._layout.addWidget(self._rows[status.name])
            self._rows[status.name].show()
        self._rows[status.name].show_status(status)
