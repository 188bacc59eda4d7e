"""Forms made from pydantic models, so that parameters are declared once."""

from __future__ import annotations

from enum import Enum
from typing import Any, get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import QEvent, QLocale, Signal
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QSpinBox,
    QWidget,
)

from napari_neurobridge.errors import InputError

_LARGEST = 1e6
_FRAME_PX, _BUTTONS_PX = 28, 40
"""What a theme draws around a number, and the width of its two buttons."""


class VectorEdit(QWidget):
    """Three numbers, (z, y, x), with a unit."""

    valueChanged = Signal()

    def __init__(self, *, unit: str = "µm", minimum: float = -_LARGEST) -> None:
        super().__init__()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self.boxes = []
        for axis in "zyx":
            box = NumberBox(minimum, _LARGEST)
            # Three numbers stand in a dock's width: their digits need the buttons' room.
            box.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
            box.setAccessibleName(f"{axis} in {unit}")
            box.valueChanged.connect(lambda _: self.valueChanged.emit())
            layout.addWidget(QLabel(axis))
            layout.addWidget(box, stretch=1)
            self.boxes.append(box)
        layout.addWidget(QLabel(unit))

    def value(self) -> tuple[float, float, float]:
        """Return (z, y, x)."""
        z, y, x = (box.value() for box in self.boxes)
        return z, y, x

    def setValue(self, value: tuple[float, float, float]) -> None:
        """Show (z, y, x)."""
        for box, number in zip(self.boxes, value, strict=True):
            box.setValue(number)


class _ChoiceEdit(QComboBox):
    """A choice among strings; editable when they are only suggestions."""

    def __init__(self, choices: list[str], *, editable: bool) -> None:
        super().__init__()
        self.setEditable(editable)
        self.addItems(choices)

    def value(self) -> str:
        return self.currentText()

    def setValue(self, value: object) -> None:
        self.setCurrentText(str(value.value if isinstance(value, Enum) else value))


class ModelForm(QWidget):
    """Edits one pydantic model; titles, bounds and help come from its fields.

    Parameters
    ----------
    value : BaseModel
        What the form shows first.
    """

    def __init__(self, value: BaseModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = type(value)
        self._editors: dict[str, Any] = {}
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for name, field in self._model.model_fields.items():
            editor = _editor_for(field)
            editor.setObjectName(name)
            editor.setToolTip(field.description or "")
            layout.addRow(field.title or name, editor)
            self._editors[name] = editor
        self.setValue(value)

    def value(self) -> BaseModel:
        """Return what the form shows.

        Raises
        ------
        InputError
            With the model's own sentence, when a value is not allowed.
        """
        try:
            return self._model(**{name: editor.value() for name, editor in self._editors.items()})
        except ValidationError as error:
            raise InputError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None

    def setValue(self, value: BaseModel) -> None:
        """Show another model of the same kind."""
        for name, editor in self._editors.items():
            editor.setValue(getattr(value, name))


def _editor_for(field: FieldInfo) -> QWidget:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    annotation = field.annotation
    if annotation is str:
        presets = extra.get("presets")
        choices = [str(item) for item in presets] if isinstance(presets, list) else []
        return _ChoiceEdit(choices, editable=True)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _ChoiceEdit([str(member.value) for member in annotation], editable=False)
    if annotation in (int, float):
        low, high = _bounds(field)
        if annotation is int:
            box = QSpinBox()
            box.setRange(int(low), int(high))
            return box
        return NumberBox(low, high)
    if get_args(annotation) == (float, float, float):
        return VectorEdit()
    raise TypeError(f"There is no editor for {annotation}.")


class NumberBox(QDoubleSpinBox):
    """A number with as many digits as it needs, all in sight: 0.65, not 0.650000."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        # Written with a point whatever the computer's language; a comma is understood.
        self.setLocale(QLocale.c())
        self.setDecimals(9)
        self.setRange(low, high)
        self.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        self.textChanged.connect(self._fit_width)
        self._fit_width()

    def textFromValue(self, value: float) -> str:
        """Return up to seven digits, without trailing zeros."""
        return f"{value:.7g}"

    def validate(self, text: str | None, position: int) -> tuple[QValidator.State, str, int]:
        """Read a decimal comma as a point."""
        return super().validate((text or "").replace(",", "."), position)

    def changeEvent(self, event: QEvent | None) -> None:
        """Keep the width when a theme sets its own."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.StyleChange:
            self._fit_width()

    def _fit_width(self, _: str = "") -> None:
        # A theme's least width hides what `minimumSizeHint` says, but not this.
        has_buttons = self.buttonSymbols() != QDoubleSpinBox.ButtonSymbols.NoButtons
        digits_px = self.fontMetrics().horizontalAdvance(self.text() or "0")
        self.setMinimumWidth(digits_px + _FRAME_PX + (_BUTTONS_PX if has_buttons else 0))


def _bounds(field: FieldInfo) -> tuple[float, float]:
    low, high = -_LARGEST, _LARGEST
    for bound in field.metadata:
        if isinstance(bound, (Ge, Gt)):
            low = float(getattr(bound, "ge", getattr(bound, "gt", low)))
        if isinstance(bound, (Le, Lt)):
            high = float(getattr(bound, "le", getattr(bound, "lt", high)))
    return low, high
