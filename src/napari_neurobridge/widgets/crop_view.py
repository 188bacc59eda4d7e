"""One crop as a picture with a coloured frame."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPen, QPixmap, QWheelEvent
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

from napari_neurobridge.types import Float32Array

_WHEEL_STEP = 120
"""One click of a mouse wheel, in Qt's eighths of a degree."""


def crop_pixmap(crop: Float32Array, size: int, frame: str | None = None) -> QPixmap:
    """Return a grey picture of a crop with values in [0, 1].

    Parameters
    ----------
    crop : ndarray, shape (rows, columns)
    size : int
        Edge of the picture in screen pixels.
    frame : str, optional
        Colour of a frame around it.
    """
    # A square root lifts dim dendrites, which share the crop with a bright soma.
    grey = (np.sqrt(np.clip(crop, 0, 1)) * 255).astype(np.uint8)
    rows, columns = grey.shape
    # Named, because the image only borrows them.
    pixels = grey.tobytes()
    image = QImage(pixels, columns, rows, columns, QImage.Format.Format_Grayscale8)
    pixmap = QPixmap.fromImage(image).scaled(
        size,
        size,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    if frame is not None:
        painter = QPainter(pixmap)
        painter.setPen(QPen(QColor(frame), 4))
        painter.drawRect(pixmap.rect())
        painter.end()
    return pixmap


class CropView(QLabel):
    """Shows one crop, or a text where there is none; the wheel scrolls in depth."""

    scrolled = Signal(int)

    def __init__(self, frame: str, size: int = 176, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._frame = frame
        self._size = size
        self._turned = 0
        self.setFixedSize(QSize(size, size))
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setWordWrap(True)
        self.setToolTip(
            "120 × 120 µm, seen along the two-photon axis. Mouse wheel: up to ± 20 µm in depth."
        )

    def show_crop(self, crop: Float32Array | None, otherwise: str) -> None:
        """Show a crop with values in [0, 1], or a text when there is none."""
        if crop is None:
            self.clear()
            self.setText(otherwise)
            return
        self.setPixmap(crop_pixmap(crop, self._size, self._frame))

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Ask for crops a little deeper or shallower; trackpads send small steps."""
        if event is None:
            return
        self._turned -= event.angleDelta().y()
        steps = int(self._turned / _WHEEL_STEP)
        self._turned -= steps * _WHEEL_STEP
        if steps:
            self.scrolled.emit(steps)
        event.accept()
