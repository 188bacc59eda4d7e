"""Enlarged tissue in a corner of either canvas, while landmarks are placed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPoint, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QLabel, QWidget

from napari_neurobridge.viewer.dispatch import OnceSoon
from napari_neurobridge.viewer.hints import ellipse_um
from napari_neurobridge.workbench.magnifier import FIELD_UM

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_neurobridge.workbench.magnifier import Magnified
    from napari_neurobridge.workbench.workbench import Workbench

SIDE_PX = 160
_AWAY_PX = 8
_BAR_UM = 10.0
_GAP_PX, _ARM_PX = 5, 14
_DARK, _BRIGHT = QColor(0, 0, 0, 200), QColor("white")


class MagnifiedView(QLabel):
    """A square picture that lies over a canvas, and that the mouse passes through."""

    def __init__(self, canvas: QWidget, name: str) -> None:
        super().__init__(canvas)
        self.setObjectName(name)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFixedSize(SIDE_PX, SIDE_PX)
        self.hide()

    def show_picture(self, picture: Magnified | None) -> None:
        """Show the tissue around a place, or nothing."""
        if picture is None:
            self.hide()
            return
        self.setPixmap(draw_magnified(picture))
        self._keep_out_of_the_way()
        self.show()

    def _keep_out_of_the_way(self) -> None:
        """Lie in the corner at the lower left, or the one above while the mouse is there."""
        canvas = self.parentWidget()
        assert canvas is not None
        below = QPoint(_AWAY_PX, canvas.height() - SIDE_PX - _AWAY_PX)
        mouse = canvas.mapFromGlobal(self.cursor().pos())
        around = self.rect().translated(below).adjusted(-_AWAY_PX, -_AWAY_PX, _AWAY_PX, _AWAY_PX)
        self.move(QPoint(_AWAY_PX, _AWAY_PX) if around.contains(mouse) else below)


class MagnifiedViews:
    """Shows in each canvas what the magnifier says.

    Parameters
    ----------
    workbench : Workbench
        Shared state, which is only read.
    sides : callable
        Returns each canvas with the dataset that it shows.
    """

    def __init__(
        self, workbench: Workbench, sides: Callable[[], list[tuple[ViewerModel, str]]]
    ) -> None:
        self._magnifier = workbench.magnifier
        self._sides = sides
        self._views: dict[int, MagnifiedView] = {}
        self._draw_soon = OnceSoon(self._draw)
        self._magnifier.changed.connect(self._draw_soon)

    def watch(self, canvas: QWidget, number: int) -> None:
        """Lie over a canvas; 0 is the two-photon one."""
        self._views[number] = MagnifiedView(canvas, f"magnified_{number}")

    def release(self) -> None:
        """Draw no longer: the canvases are about to go."""
        self._magnifier.changed.disconnect(self._draw_soon)
        self._views.clear()

    def _draw(self) -> None:
        shown = dict(enumerate(dataset for _, dataset in self._sides()))
        for number, view in self._views.items():
            dataset = shown.get(number)
            view.show_picture(None if dataset is None else self._magnifier.picture(dataset))


def draw_magnified(picture: Magnified) -> QPixmap:
    """Return a picture with a cross in its middle, the uncertainty of the place, and a scale."""
    rows, columns = picture.pixels.shape
    # Named, because the image only borrows them.
    pixels = np.ascontiguousarray(picture.pixels).tobytes()
    image = QImage(pixels, columns, rows, columns, QImage.Format.Format_Grayscale8)
    smooth = Qt.TransformationMode.SmoothTransformation
    keep = Qt.AspectRatioMode.IgnoreAspectRatio
    pixmap = QPixmap.fromImage(image.scaled(SIDE_PX, SIDE_PX, keep, smooth))
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    if picture.expected_place is not None:
        _draw_ellipses(painter, picture)
    _draw_cross(painter)
    _draw_words(painter, picture.what)
    painter.setPen(QPen(_BRIGHT, 2))
    painter.drawRect(pixmap.rect().adjusted(0, 0, -1, -1))
    painter.end()
    return pixmap


def _draw_cross(painter: QPainter) -> None:
    """Draw a cross that leaves its middle open."""
    middle = QPointF(SIDE_PX / 2, SIDE_PX / 2)
    for color, width in ((_DARK, 3.0), (_BRIGHT, 1.0)):
        painter.setPen(QPen(color, width))
        for step in (QPointF(1, 0), QPointF(-1, 0), QPointF(0, 1), QPointF(0, -1)):
            painter.drawLine(middle + step * _GAP_PX, middle + step * _ARM_PX)


def _draw_ellipses(painter: QPainter, picture: Magnified) -> None:
    """Draw one and two standard deviations of where the place is expected."""
    assert picture.expected_place is not None
    center = np.array(picture.expected_place.center_um)[list(picture.axes)]
    ring = (ellipse_um(picture.expected_place, picture.axes) - center) * picture.signs
    for deviations in (1, 2):
        places = deviations * ring * (SIDE_PX / FIELD_UM) + SIDE_PX / 2
        outline = QPolygonF([QPointF(x, y) for y, x in places])
        for color, style in ((_DARK, Qt.PenStyle.SolidLine), (_BRIGHT, Qt.PenStyle.DashLine)):
            painter.setPen(QPen(color, 1.5, style))
            painter.drawPolygon(outline)


def _draw_words(painter: QPainter, what: str) -> None:
    """Say whose place it is, and draw a scale bar."""
    words = QRectF(5, 3, SIDE_PX - 10, 18)
    length = _BAR_UM * SIDE_PX / FIELD_UM
    bar = QRectF(SIDE_PX - 8 - length, SIDE_PX - 10, length, 3)
    painter.fillRect(bar.adjusted(-1, -1, 1, 1), _DARK)
    painter.fillRect(bar, _BRIGHT)
    scale = QRectF(bar.left() - 20, bar.top() - 18, length + 40, 16)
    for color, offset in ((_DARK, 1.0), (_BRIGHT, 0.0)):
        painter.setPen(color)
        painter.drawText(words.translated(offset, offset), Qt.AlignmentFlag.AlignLeft, what)
        painter.drawText(
            scale.translated(offset, offset), Qt.AlignmentFlag.AlignCenter, f"{_BAR_UM:.0f} µm"
        )
