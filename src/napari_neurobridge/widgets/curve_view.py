"""Curves of a training, drawn as they come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_neurobridge.insight import figures

_HEIGHT_PX, _LEFT_PX, _LINE_PX = 118, 46, 16
_MARK_PX = 2.5
# Of the axis, as a share of its highest value.
_LEAST_SPAN = 0.02


class CurveView(QWidget):
    """One curve over the steps of a training, with its range beside it.

    Parameters
    ----------
    title : str
        What is drawn.
    color : int
        Which of the figures' colours it has.
    """

    def __init__(self, title: str, color: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title, self._color = title, color
        self._steps = 1
        self.points: tuple[tuple[int, float], ...] = ()
        self.setFixedHeight(_HEIGHT_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(title)

    def sizeHint(self) -> QSize:
        """Ask for little: it takes the width that it is given."""
        return QSize(140, _HEIGHT_PX)

    def show_points(self, points: Sequence[tuple[int, float]], steps: int) -> None:
        """Show values by step, of a training of so many steps."""
        finite = tuple((step, value) for step, value in points if np.isfinite(value))
        if (finite, steps) != (self.points, self._steps):
            self.points, self._steps = finite, max(steps, 1)
            self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw title, range, and the curve."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        painter.setPen(ink)
        top = QRectF(0, 0, self.width(), _LINE_PX)
        painter.drawText(top, Qt.AlignmentFlag.AlignLeft, self._title)
        plot = QRectF(self.rect()).adjusted(_LEFT_PX, _LINE_PX + 4, -6, -_LINE_PX - 2)
        painter.drawLine(plot.bottomLeft(), plot.bottomRight())
        painter.drawLine(plot.topLeft(), plot.bottomLeft())
        below = QRectF(plot.left(), plot.bottom() + 2, plot.width(), _LINE_PX)
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"step {self._steps}")
        if self.points:
            self._draw_curve(painter, plot)
        painter.end()

    def _draw_curve(self, painter: QPainter, plot: QRectF) -> None:
        values = np.array([value for _, value in self.points])
        high = float(values.max())
        # What hardly changes looks flat.
        low = min(float(values.min()), high - _LEAST_SPAN * abs(high))
        beside = QRectF(0, plot.top(), _LEFT_PX - 4, plot.height())
        painter.drawText(beside, Qt.AlignmentFlag.AlignRight, f"{high:.4g}")
        if high > low:
            bottom = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignBottom
            painter.drawText(beside, bottom, f"{low:.4g}")
        scale = plot.height() / max(high - low, 1e-9)
        line = [
            QPointF(
                plot.left() + plot.width() * min(step / self._steps, 1.0),
                plot.bottom() - (value - low) * scale,
            )
            for step, value in self.points
        ]
        is_dark = self.palette().color(QPalette.ColorRole.Window).lightness() < 128
        theme = figures.DARK if is_dark else figures.LIGHT
        color = QColor(theme.lines[self._color])
        painter.setPen(QPen(color, 1.8))
        painter.drawPolyline(QPolygonF(line))
        painter.setBrush(color)
        for place in line if len(line) < plot.width() / (4 * _MARK_PX) else line[-1:]:
            painter.drawEllipse(place, _MARK_PX, _MARK_PX)
