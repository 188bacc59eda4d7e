"""The button that opens a project again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from qtpy.QtWidgets import QMenu, QPushButton, QWidget

from napari_neurobridge.workbench.workbench import Workbench


class RecentButton(QPushButton):
    """Lists the projects that were opened lately; those that are gone cannot be chosen.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__("Recent", parent)
        self._workbench = workbench
        self.setObjectName("recent_button")
        self.setToolTip("Open one of the projects that were open lately")
        self.list = QMenu(self)
        self.list.setObjectName("recent_menu")
        self.list.setToolTipsVisible(True)
        self.list.aboutToShow.connect(self._fill)
        self.setMenu(self.list)

    def _fill(self) -> None:
        self.list.clear()
        for project in self._workbench.recent.listed():
            gone = "" if project.exists else "  (not found)"
            # An ampersand in a name would become a shortcut.
            action = self.list.addAction(project.path.name.replace("&", "&&") + gone)
            assert action is not None
            action.setToolTip(str(project.path))
            action.setEnabled(project.exists)
            action.triggered.connect(partial(self._open, project.path))
        if self.list.isEmpty():
            none = self.list.addAction("no project was opened yet")
            assert none is not None
            none.setEnabled(False)

    def _open(self, path: Path, _checked: bool = False) -> None:
        self._workbench.setup.open_project(path)
