"""The clock by which a viewer looks whether others have changed its project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    from qtpy.QtCore import QObject

    from napari_neurobridge.workbench.watch import Watch

PERIOD_MS = 2000


class LogTimer(QTimer):
    """Looks every two seconds, for as long as its parent lives.

    Parameters
    ----------
    watch : Watch
    parent : QObject
    """

    def __init__(self, watch: Watch, parent: QObject) -> None:
        super().__init__(parent)
        self.timeout.connect(watch.look)
        self.start(PERIOD_MS)
