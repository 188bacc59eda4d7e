"""The fold in which a person paints a few cells, and has the detector learn from them."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QButtonGroup,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_neurobridge.types import Vec3
from napari_neurobridge.viewer.dispatch import LAYOUT_MS
from napari_neurobridge.widgets._scrolling import scroll_to
from napari_neurobridge.workbench.painting import Tool
from napari_neurobridge.workbench.workbench import Workbench

Place = Callable[[str], Vec3 | None]
"""Returns the middle of what the canvas of a dataset shows, µm (z, y, x)."""

_EXPLANATION = (
    "Paint a few cells, and some of what is none. The detector learns these; what is not painted "
    "has no say. Each stroke is kept in the project."
)
_TOOLS = {
    Tool.CELL: ("Cell", "Paint cells, in yellow"),
    Tool.BACKGROUND: ("Background", "Paint what is no cell, in blue"),
    Tool.ERASE: ("Erase", "Take paint away again"),
}


def no_place(_: str) -> Vec3 | None:
    """Say that no canvas shows anything."""
    return None


class PaintForm(QWidget):
    """Begins and ends painting, chooses its tool, and starts training and comparison.

    Parameters
    ----------
    workbench : Workbench
    dataset : callable
        Returns the dataset that is chosen above.
    place : callable, optional
    """

    def __init__(
        self, workbench: Workbench, dataset: Callable[[], str], place: Place = no_place
    ) -> None:
        super().__init__()
        self._workbench = workbench
        self._painting = workbench.painting
        self._dataset, self._place = dataset, place
        explanation = QLabel(_EXPLANATION)
        explanation.setWordWrap(True)
        self.paint_button = QPushButton()
        self.paint_button.setObjectName("paint_button")
        self.paint_button.setCheckable(True)
        self.painted = QLabel()
        self.painted.setObjectName("painted_text")
        self.painted.setWordWrap(True)
        self.outcome = QLabel()
        self.outcome.setObjectName("painted_outcome")
        self.outcome.setWordWrap(True)
        self.outcome.setTextFormat(Qt.TextFormat.RichText)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(explanation)
        layout.addWidget(self.paint_button)
        layout.addWidget(self._create_tools())
        layout.addWidget(self.painted)
        layout.addLayout(self._create_actions())
        layout.addWidget(self.outcome)
        # Once the tools have their place.
        self._reveal = QTimer(self)
        self._reveal.setSingleShot(True)
        self._reveal.setInterval(LAYOUT_MS)
        self._reveal.timeout.connect(self._show_tools)
        self.paint_button.clicked.connect(self._on_paint_clicked)
        self._painting.changed.connect(self.refresh)
        workbench.detection.settings_changed.connect(self.refresh)
        self.refresh()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Count what is painted once somebody looks."""
        super().showEvent(event)
        self._painting.look(self._dataset())

    def _create_tools(self) -> QWidget:
        self.tools = QWidget()
        grid = QGridLayout(self.tools)
        grid.setContentsMargins(0, 0, 0, 0)
        self._group = QButtonGroup(self)
        self.tool_buttons: dict[Tool, QPushButton] = {}
        for column, (tool, (words, tip)) in enumerate(_TOOLS.items()):
            button = QPushButton(words)
            button.setObjectName(f"paint_{tool}_button")
            button.setToolTip(tip)
            button.setCheckable(True)
            button.clicked.connect(lambda _checked=False, chosen=tool: self._choose(chosen))
            self._group.addButton(button)
            self.tool_buttons[tool] = button
            grid.addWidget(button, 0, column)
        self.brush = QDoubleSpinBox()
        self.brush.setObjectName("paint_brush")
        self.brush.setRange(0.5, 50.0)
        self.brush.setDecimals(1)
        self.brush.setSuffix(" µm")
        self.brush.setPrefix("brush ")
        self.brush.setToolTip("How wide a click paints")
        self.brush.valueChanged.connect(self._painting.set_brush)
        self.undo_button = QPushButton("Undo stroke")
        self.undo_button.setObjectName("undo_stroke_button")
        self.undo_button.clicked.connect(lambda _checked=False: self._painting.undo_stroke())
        grid.addWidget(self.brush, 1, 0, 1, 2)
        grid.addWidget(self.undo_button, 1, 2)
        return self.tools

    def _create_actions(self) -> QHBoxLayout:
        self.learn_button = QPushButton("Learn")
        self.learn_button.setObjectName("learn_button")
        self.steps = QSpinBox()
        self.steps.setObjectName("learn_steps")
        self.steps.setRange(0, 9999)
        self.steps.setSpecialValueText("usual steps")
        self.steps.setSuffix(" steps")
        self.steps.setToolTip("How long is learned: usually 200 steps, some minutes")
        self.compare_button = QPushButton("Compare")
        self.compare_button.setObjectName("compare_button")
        self.compare_button.setToolTip(
            "Counts the cells that the chosen network and the difference of Gaussians find, in the "
            "whole image; changes nothing"
        )
        self.learn_button.clicked.connect(self._on_learn_clicked)
        self.compare_button.clicked.connect(self._on_compare_clicked)
        row = QHBoxLayout()
        for widget in (self.learn_button, self.steps, self.compare_button):
            row.addWidget(widget)
        return row

    # --- from the view to the state ------------------------------------------------------

    def _on_paint_clicked(self, checked: bool) -> None:
        place = self._place(self._dataset())
        if checked and place is not None:
            self._painting.begin(self._dataset(), place)
        else:
            self._painting.stop()
        self.refresh()

    def _choose(self, tool: Tool) -> None:
        self._painting.choose(tool)

    def _on_learn_clicked(self, _checked: bool = False) -> None:
        self._painting.steps = self.steps.value()
        self._painting.learn(self._dataset())

    def _on_compare_clicked(self, _checked: bool = False) -> None:
        self._painting.compare(self._dataset())

    # --- from the state to the view ------------------------------------------------------

    def _show_tools(self) -> None:
        for widget in (self.learn_button, self.paint_button):
            scroll_to(widget)

    def refresh(self) -> None:
        """Show where painting and learning stand in the dataset that is chosen above."""
        painting, dataset = self._painting, self._dataset()
        if self.isVisible():
            painting.look(dataset)
        active = bool(painting.dataset)
        with signals_blocked(self.paint_button), signals_blocked(self.brush):
            self.paint_button.setChecked(active)
            self.brush.setValue(painting.brush_um)
        where = f" in {painting.dataset}" if active else ""
        self.paint_button.setText(f"Stop painting{where}" if active else f"Paint in {dataset}")
        self.paint_button.setEnabled(active or painting.can_paint(dataset))
        self.paint_button.setToolTip(
            "Takes the paint off the canvas; it is kept"
            if active
            else "Lays a layer of labels over the middle of what the canvas shows. In a large "
            "volume it covers a part, and you can paint in several"
        )
        if active and self.tools.isHidden():
            self._reveal.start()
        self.tools.setVisible(active)
        self.tool_buttons[painting.tool].setChecked(True)
        painted, idle = painting.painted(dataset), not painting.busy
        words = _painted_in_words(painted.n_cells, painted.n_background_voxels)
        frame = " Paint inside the frame." if painting.framed else ""
        self.painted.setText(words + frame)
        self.learn_button.setEnabled(idle and painted.enough)
        self.learn_button.setToolTip(
            "Trains in the background; stopped, it goes on from there the next time"
            if painted.enough
            else "Needs at least one painted cell, and some painted background"
        )
        self.compare_button.setEnabled(idle and dataset in self._workbench.detection.datasets)
        self.outcome.setText(painting.outcome(dataset))
        self.outcome.setVisible(bool(painting.outcome(dataset)))


def _painted_in_words(n_cells: int, n_background: int) -> str:
    if not n_cells and not n_background:
        return "Nothing is painted here yet."
    cells = f"{n_cells} {'cell' if n_cells == 1 else 'cells'}"
    if not n_background:
        return f"{cells} painted; paint some background, too."
    if not n_cells:
        return "Only background is painted; paint a cell, too."
    return f"{cells} and {n_background:,} voxels of background are painted."
