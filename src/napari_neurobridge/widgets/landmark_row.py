"""The row of the Pairs dock that places, weighs and removes landmarks without a soma."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QPushButton, QWidget
from superqt.utils import signals_blocked

from napari_neurobridge.project.log.landmarks import LEAST_SIGMA_UM, MOST_SIGMA_UM
from napari_neurobridge.workbench.workbench import Workbench


class LandmarkRow(QWidget):
    """Edits landmarks that are no somata.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the row reads it and calls its methods.
    selected : callable
        Returns the uids of the landmarks that are selected in the table.
    """

    def __init__(
        self,
        workbench: Workbench,
        selected: Callable[[], list[str]],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._landmarks = workbench.landmarks
        self._selected = selected
        self.place = QPushButton("L  landmark")
        self.place.setObjectName("landmark_button")
        self.place.setCheckable(True)
        self.place.setToolTip(
            "Click a point that is no soma, such as a branch of a vessel, in one canvas and then "
            "in the other; drag it to move it"
        )
        self.sigma = QDoubleSpinBox()
        self.sigma.setObjectName("landmark_sigma_um")
        self.sigma.setDecimals(1)
        self.sigma.setRange(LEAST_SIGMA_UM, MOST_SIGMA_UM)
        self.sigma.setPrefix("σ ")
        self.sigma.setSuffix(" µm")
        self.sigma.setKeyboardTracking(False)
        self.sigma.setToolTip(
            "How exactly the selected landmarks are known, or the next one: standard deviation"
        )
        self.delete = QPushButton("delete")
        self.delete.setObjectName("landmark_delete_button")
        self.delete.setToolTip("Remove the selected landmarks; one step of undo")
        self.magnify = QPushButton("magnify")
        self.magnify.setObjectName("landmark_magnify_button")
        self.magnify.setCheckable(True)
        self.magnify.setToolTip(
            "While landmarks are placed, a corner of either canvas shows enlarged what is under "
            "the mouse, and where that is expected on the other side or was clicked: 40 µm across, "
            "6 µm deep"
        )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        for widget in (self.place, self.sigma, self.delete, self.magnify):
            layout.addWidget(widget)
        self.place.clicked.connect(self._landmarks.toggle)
        self.sigma.valueChanged.connect(self._on_sigma_changed)
        self.delete.clicked.connect(self._on_delete_clicked)
        self._magnifier = workbench.magnifier
        self.magnify.clicked.connect(self._magnifier.show)
        self._magnifier.changed.connect(self._show_magnified)
        self._landmarks.changed.connect(self.refresh)
        self.refresh()

    def _on_sigma_changed(self, sigma_um: float) -> None:
        self._landmarks.set_sigma(sigma_um, self._selected())

    def _on_delete_clicked(self, _: bool = False) -> None:
        self._landmarks.delete(self._selected())

    def _show_magnified(self) -> None:
        self.magnify.setChecked(self._magnifier.wanted)

    def refresh(self) -> None:
        """Show whether clicks place landmarks, and how exactly the selected one is known."""
        living, uids = self._landmarks.living, self._selected()
        self.place.setChecked(self._landmarks.placing)
        self.delete.setEnabled(bool(uids))
        self._show_magnified()
        mark = living.get(uids[0]) if uids else None
        with signals_blocked(self.sigma):
            self.sigma.setValue(self._landmarks.sigma_um if mark is None else mark.sigma_um)
