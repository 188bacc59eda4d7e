"""The form that chooses one of two images to register: layer, plane of a stack, pixel size."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QWidget
from superqt.utils import signals_blocked

from napari_neurobridge.errors import InputError
from napari_neurobridge.types import Projection
from napari_neurobridge.viewer.plane_sources import OfferedPlane
from napari_neurobridge.widgets._form import NumberBox
from napari_neurobridge.workflows.register_layers import LayerPlane

Planes = Callable[[], list[OfferedPlane]]

_MOST_UM = 1000.0
_LABEL_PX = 52
_PIXEL_PX = 112
_STACKS = (
    ("plane shown", None),
    ("brightest", Projection.MAX),
    ("mean", Projection.MEAN),
)


def no_planes() -> list[OfferedPlane]:
    """Return nothing: for a panel without a viewer."""
    return []


class PlaneForm(QWidget):
    """One side: which layer, which plane of a stack, and how large its pixels are.

    Parameters
    ----------
    title : str
        "Source" or "Target".
    tip : str
        What becomes of this side.
    """

    changed = Signal()

    def __init__(self, title: str, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = title
        self._offered: list[OfferedPlane] = []
        name = title.lower()
        self.layer = QComboBox()
        self.layer.setObjectName(f"{name}_layer")
        self.layer.setToolTip(tip)
        self.layer.setMinimumContentsLength(5)
        self.layer.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.layer.currentIndexChanged.connect(self._on_layer_chosen)
        self.stack = QComboBox()
        self.stack.setObjectName(f"{name}_plane")
        self.stack.setToolTip("Which plane of the stack: the one in sight, or a projection of all")
        self.stack.setMinimumContentsLength(6)
        self.stack.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        for words, projection in _STACKS:
            self.stack.addItem(words, projection)
        self.pixel = NumberBox(0.0, _MOST_UM)
        self.pixel.setObjectName(f"{name}_pixel")
        self.pixel.setMaximumWidth(_PIXEL_PX)  # beside a stack's form, in the narrowest dock
        self.pixel.setSuffix(" µm")
        self.pixel.setToolTip("Side of a pixel; a scale without a unit is taken to be in µm")
        self.pixel.valueChanged.connect(lambda _: self.changed.emit())
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        label = QLabel(title)
        label.setFixedWidth(_LABEL_PX)  # so that both forms' columns lie one below the other
        layout.addWidget(label, 0, 0)
        layout.addWidget(self.layer, 0, 1)
        layout.addWidget(self.stack, 0, 2)
        layout.addWidget(self.pixel, 0, 3)
        layout.setColumnStretch(1, 1)
        self._show_chosen()

    def offer(self, planes: list[OfferedPlane], *, prefer: int) -> None:
        """List the layers there are; what was chosen stays, else the one of a number is."""
        before = self.chosen()
        if [_known(x) for x in planes] == [_known(x) for x in self._offered]:
            self._offered = planes
            return
        self._offered = planes
        with signals_blocked(self.layer):
            self.layer.clear()
            self.layer.addItems([plane.name for plane in planes])
            rows = [n for n, x in enumerate(planes) if before and x.layer is before.layer]
            row = rows[0] if rows else min(prefer, len(planes) - 1)
            self.layer.setCurrentIndex(row)
        chosen = self.chosen()
        if before and chosen and (before.layer, before.pixel_um) == (chosen.layer, chosen.pixel_um):
            # What somebody entered stays.
            self._show_chosen()
            self.changed.emit()
        else:
            self._on_layer_chosen(row)

    def chosen(self) -> OfferedPlane | None:
        """Return the layer that is chosen; None where there is none."""
        row = self.layer.currentIndex()
        return self._offered[row] if 0 <= row < len(self._offered) else None

    def problem(self) -> str:
        """Return why this side cannot be registered; empty when it can."""
        chosen = self.chosen()
        if chosen is None:
            return f"{self._title}: open an image."
        if chosen.problem:
            return f"{self._title}: {chosen.problem}"
        if not self.pixel.value():
            return f"{self._title}: '{chosen.name}' does not say its pixel size; enter it in µm."
        return ""

    def plane(self) -> LayerPlane:
        """Return what is chosen.

        Raises
        ------
        InputError
            If it cannot be registered.
        """
        problem, chosen = self.problem(), self.chosen()
        if problem or chosen is None:
            raise InputError(problem)
        projection = self.stack.currentData() if chosen.is_stack else None
        return chosen.plane(self.pixel.value(), projection)

    def _on_layer_chosen(self, _: int) -> None:
        chosen = self.chosen()
        with signals_blocked(self.pixel):
            self.pixel.setValue((chosen.pixel_um if chosen else None) or 0.0)
        self._show_chosen()
        self.changed.emit()

    def _show_chosen(self) -> None:
        chosen = self.chosen()
        self.stack.setVisible(chosen is not None and chosen.is_stack)
        self.pixel.setEnabled(chosen is not None and not chosen.problem)


def _known(plane: OfferedPlane) -> tuple[object, ...]:
    return plane.layer, plane.name, plane.is_stack, plane.pixel_um, plane.problem
