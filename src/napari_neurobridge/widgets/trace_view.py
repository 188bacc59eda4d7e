"""The queried cell's activity over time, under its crop, where that side is a recording."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_neurobridge.io.traces import Trace
from napari_neurobridge.types import Float32Array, Projection
from napari_neurobridge.workbench.workbench import Workbench

_HEIGHT_PX = 56
_PROJECTIONS = {
    Projection.MEAN: "mean over time",
    Projection.MAX: "maximum over time",
    Projection.STD: "standard deviation",
    Projection.CORRELATION: "local correlation",
}


def envelope(values: Float32Array, columns: int) -> Float32Array:
    """Return lowest and highest value of each of at most ``columns`` equal parts, (N, 2).

    So a short event is seen however many frames share a column of pixels.
    """
    parts = np.array_split(values, max(1, min(columns, len(values))))
    return np.array([(part.min(), part.max()) for part in parts], dtype=np.float32)


class TracePlot(QWidget):
    """Draws one trace as wide as there is room, in the theme's own colours."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._trace: Trace | None = None
        self.setFixedHeight(_HEIGHT_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """Ask for little: it takes the width that it is given."""
        return QSize(120, _HEIGHT_PX)

    def show_trace(self, trace: Trace | None) -> None:
        """Show a trace, or nothing."""
        self._trace = trace
        if trace is not None:
            unit = "change relative to the baseline (dF/F)" if trace.relative else "grey values"
            self.setToolTip(f"{len(trace.values)} frames, mean of a disc of 10 µm: {unit}")
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the trace and the range of its values."""
        if self._trace is None or not len(self._trace.values):
            return
        low, high = float(self._trace.values.min()), float(self._trace.values.max())
        plot = QRectF(self.rect()).adjusted(2, 4, -44, -4)
        ranges = envelope(self._trace.values, int(plot.width()))
        scale = plot.height() / max(high - low, 1e-9)
        x = plot.left() + np.linspace(0.0, plot.width(), len(ranges))
        y = plot.bottom() - (ranges - low) * scale
        points = np.column_stack([np.repeat(x, 2), y.reshape(-1)])
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        painter.setPen(QPen(ink, 1.0))
        painter.drawPolyline(QPolygonF([QPointF(*point) for point in points.tolist()]))
        beside = QRectF(plot.right() + 4, 0, 40, self.height())
        painter.drawText(beside, Qt.AlignmentFlag.AlignTop, f"{high:.3g}")
        painter.drawText(beside, Qt.AlignmentFlag.AlignBottom, f"{low:.3g}")
        painter.end()


class TraceView(QWidget):
    """Shows the trace of the queried cell, and how the crops show the recording.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the view reads the activity and calls its methods.
    """

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._activity = workbench.activity
        self.plot = TracePlot()
        self.plot.setObjectName("trace_plot")
        self.caption = QLabel()
        self.caption.setObjectName("trace_caption")
        self.caption.setWordWrap(True)
        self.projection = QComboBox()
        self.projection.setObjectName("projection_combo")
        self.projection.setToolTip("How the crops show the recording; another takes a while")
        for projection, words in _PROJECTIONS.items():
            self.projection.addItem(words, projection)
        self.projection.activated.connect(self._on_projection_chosen)
        above = QHBoxLayout()
        above.addWidget(self.caption, stretch=1)
        above.addWidget(self.projection)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(above)
        layout.addWidget(self.plot)
        self._activity.changed.connect(self._refresh)
        self._refresh()

    def _on_projection_chosen(self, _: int) -> None:
        self._activity.show_projection(self.projection.currentData())

    def _refresh(self) -> None:
        activity = self._activity
        self.setVisible(activity.projection is not None)
        with signals_blocked(self.projection):
            self.projection.setCurrentIndex(self.projection.findData(activity.projection))
        trace = activity.trace
        self.plot.show_trace(trace)
        unit = "" if trace is None else "dF/F" if trace.relative else "grey value"
        self.caption.setText(activity.problem or unit or "reading the trace …")
