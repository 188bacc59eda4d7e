"""One crop as a picture: a coloured frame, a ring around the soma, and a scale bar."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPen, QPixmap, QResizeEvent, QWheelEvent
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

from napari_neurobridge.io.grey import grey_levels
from napari_neurobridge.types import CROP_UM, Float32Array
from napari_neurobridge.viewer.styles import SOMA_DIAMETER_UM

_WHEEL_STEP = 120
"""One click of a mouse wheel, in Qt's eighths of a degree."""

SMALLEST_PX, LARGEST_PX = 96, 520
_BAR_UM = 20.0
_FRAME_PX = 4
_INK, _SEAM = QColor("white"), QColor(0, 0, 0, 160)


def crop_pixmap(crop: Float32Array, size: int) -> QPixmap:
    """Return a crop as a square picture.

    Parameters
    ----------
    crop : ndarray, shape (rows, columns)
        In [0, 1].
    size : int
        Edge of the picture in screen pixels.
    """
    grey = grey_levels(crop)
    rows, columns = grey.shape
    # Named, because the image only borrows them.
    pixels = grey.tobytes()
    image = QImage(pixels, columns, rows, columns, QImage.Format.Format_Grayscale8)
    return QPixmap.fromImage(image).scaled(
        size,
        size,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )


def draw_marks(pixmap: QPixmap, frame: str) -> None:
    """Draw a frame, a ring around the soma in the middle, and a scale bar onto a crop.

    Parameters
    ----------
    pixmap : QPixmap
        All of a crop, whatever its size on the screen.
    frame : str
        Colour of frame and ring.
    """
    side, px_per_um = pixmap.width(), pixmap.width() / CROP_UM
    painter = QPainter(pixmap)
    painter.setPen(QPen(QColor(frame), _FRAME_PX))
    painter.drawRect(pixmap.rect())
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(frame), 1.2))
    radius = SOMA_DIAMETER_UM / 2 * px_per_um
    painter.drawEllipse(QPointF(side / 2, side / 2), radius, radius)
    length, away = _BAR_UM * px_per_um, 2.5 * _FRAME_PX
    bar = QRectF(side - away - length, side - away - 3, length, 3)
    painter.fillRect(bar.adjusted(-1, -1, 1, 1), _SEAM)
    painter.fillRect(bar, _INK)
    text = QRectF(bar.left() - 20, bar.top() - 18, length + 40, 16)
    for color, offset in ((_SEAM, 1.0), (_INK, 0.0)):
        painter.setPen(color)
        painter.drawText(
            text.translated(offset, offset), Qt.AlignmentFlag.AlignCenter, f"{_BAR_UM:.0f} µm"
        )
    painter.end()


class CropView(QLabel):
    """Shows one crop as large as there is room, or a text; the wheel scrolls in depth."""

    scrolled = Signal(int)

    def __init__(self, frame: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._frame = frame
        self._crop: Float32Array | None = None
        self._turned = 0
        # Its own picture must not keep it from becoming smaller.
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setMinimumSize(SMALLEST_PX, SMALLEST_PX)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setWordWrap(True)
        self.setToolTip(
            "120 × 120 µm, seen along the two-photon axis. Mouse wheel: up to ± 20 µm in depth."
        )

    def show_crop(self, crop: Float32Array | None, otherwise: str) -> None:
        """Show a crop with values in [0, 1], or a text when there is none."""
        self._crop = crop
        if crop is None:
            self.clear()
            self.setText(otherwise)
            return
        self._draw()

    def hasHeightForWidth(self) -> bool:
        """Say that it is as high as it is wide."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Return the height at a width: a square, up to a size at which nothing is gained."""
        return max(SMALLEST_PX, min(width, LARGEST_PX))

    def sizeHint(self) -> QSize:
        """Ask for little: it takes the width that it is given."""
        return QSize(SMALLEST_PX, SMALLEST_PX)

    def minimumSizeHint(self) -> QSize:
        """Ask for no more than the least, whatever is shown."""
        return QSize(SMALLEST_PX, SMALLEST_PX)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Draw the crop in the new size."""
        super().resizeEvent(event)
        if self._crop is not None:
            self._draw()

    def _draw(self) -> None:
        assert self._crop is not None
        pixmap = crop_pixmap(self._crop, min(self.width(), self.height()))
        draw_marks(pixmap, self._frame)
        self.setPixmap(pixmap)

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
