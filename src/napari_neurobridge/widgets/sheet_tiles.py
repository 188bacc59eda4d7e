"""The tiles of a contact sheet: as many pairs as fit, all showing the same side."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import QRect, QRectF, QSize, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_neurobridge.types import CROP_UM, Verdict
from napari_neurobridge.viewer.styles import SOMA_DIAMETER_UM, SheetStyle
from napari_neurobridge.workbench.contact_sheet import ContactSheet
from napari_neurobridge.workbench.sheet_crops import GreyPicture
from napari_neurobridge.workbench.sheet_page import MOST_TILES, Tile

SMALLEST_PX, LARGEST_PX = 96, 240
"""Edge of a crop on the screen: below the first a dendrite is not seen any more."""

_GAP_PX = 6
_FONT_PX = 11
_LINES = 2
_CAPTION_PX = _LINES * (_FONT_PX + 2)
_STYLE = SheetStyle()


@dataclass(frozen=True)
class Grid:
    """How many tiles lie side by side, in how many rows; edge and left margin in pixels."""

    columns: int
    rows: int
    edge: int
    left: int = 0

    @classmethod
    def of(cls, size: QSize, count: int) -> Grid:
        """Return the grid with the largest crops for so many tiles, or for fewer that fit."""
        fits = [cls._with(size, columns, -(-count // columns)) for columns in range(1, count + 1)]
        best = max(fits, key=lambda grid: grid.edge)
        columns, rows, edge = best.columns, best.rows, min(best.edge, LARGEST_PX)
        if edge < SMALLEST_PX:
            edge = SMALLEST_PX
            columns = max(size.width() // (edge + _GAP_PX), 1)
            rows = max(size.height() // (edge + _GAP_PX + _CAPTION_PX), 1)
        return cls(columns, rows, edge, max(size.width() - columns * (edge + _GAP_PX), 0) // 2)

    @classmethod
    def _with(cls, size: QSize, columns: int, rows: int) -> Grid:
        width = size.width() // columns - _GAP_PX
        height = size.height() // rows - _GAP_PX - _CAPTION_PX
        return cls(columns, rows, min(width, height))

    @property
    def count(self) -> int:
        """How many tiles there is room for."""
        return self.columns * self.rows

    def place(self, index: int) -> QRect:
        """Return where a tile's crop lies."""
        row, column = divmod(index, self.columns)
        across, down = self.edge + _GAP_PX, self.edge + _GAP_PX + _CAPTION_PX
        half = _GAP_PX // 2
        return QRect(self.left + column * across + half, row * down + half, self.edge, self.edge)


class TilesView(QWidget):
    """Paints the page of a contact sheet, and says which tile is clicked.

    Parameters
    ----------
    sheet : ContactSheet
        Shared state; the view reads it.

    Attributes
    ----------
    front : bool
        Whether the two-photon side is on show, for all tiles alike.
    """

    clicked = Signal(int)

    def __init__(self, sheet: ContactSheet, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("sheet_tiles")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(2 * SMALLEST_PX, SMALLEST_PX + _CAPTION_PX + _GAP_PX)
        self._sheet = sheet
        self.front = True

    @property
    def grid(self) -> Grid:
        """Where the tiles of the page lie."""
        return Grid.of(self.size(), max(len(self._sheet.page.tiles), 1))

    def show_side(self, front: bool) -> None:
        """Show the two-photon crops, or the fMOST ones."""
        self.front = front
        self.update()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Have as many tiles as there is room for."""
        super().resizeEvent(event)
        self._sheet.set_capacity(Grid.of(self.size(), MOST_TILES).count)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Tell which tile is under the mouse, its caption included."""
        if event is None or event.button() != Qt.MouseButton.LeftButton:
            return
        grid = self.grid
        for index in range(len(self._sheet.page.tiles)):
            if grid.place(index).adjusted(0, 0, 0, _CAPTION_PX).contains(event.pos()):
                self.clicked.emit(index)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint all tiles."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.fillRect(self.rect(), QColor(_STYLE.paper))
        font = painter.font()
        font.setPixelSize(_FONT_PX)
        painter.setFont(font)
        grid = self.grid
        for index, tile in enumerate(self._sheet.page.tiles):
            self._paint_tile(painter, grid.place(index), tile)
            if index == self._sheet.cursor:
                self._paint_cursor(painter, grid.place(index))
        painter.end()

    def _paint_tile(self, painter: QPainter, place: QRect, tile: Tile) -> None:
        pictures = self._sheet.pictures(tile.pair)
        painter.setPen(QColor(_STYLE.ink))
        if pictures is None:
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, "…")
        else:
            _paint_crop(painter, place, pictures.two_photon if self.front else pictures.fmost)
        below = place.adjusted(0, place.height() + 2, 0, _CAPTION_PX)
        top, middle = Qt.AlignmentFlag.AlignTop, Qt.AlignmentFlag.AlignHCenter
        painter.drawText(
            below, top | middle | Qt.TextFlag.TextWordWrap, _caption(painter, tile, below)
        )
        color = _STYLE.two_photon if self.front else _STYLE.fmost
        painter.setPen(QPen(QColor(color), 2))
        painter.drawRect(place)
        _paint_ring(painter, place, color)
        mark = self._sheet.marks.get(tile.pair)
        if mark is not None:
            _paint_mark(painter, place, mark)

    def _paint_cursor(self, painter: QPainter, place: QRect) -> None:
        painter.setPen(QPen(QColor(_STYLE.cursor), 2))
        painter.drawRect(place.adjusted(-2, -2, 2, 2))


def _paint_ring(painter: QPainter, place: QRect, color: str) -> None:
    """Draw a ring around the soma in the middle; a dark seam keeps it visible on bright."""
    radius = SOMA_DIAMETER_UM / 2 * place.width() / CROP_UM
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    for pen in (QPen(QColor(_STYLE.paper), 3), QPen(QColor(color), 1.4)):
        painter.setPen(pen)
        painter.drawEllipse(QRectF(place).center(), radius, radius)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)


def _caption(painter: QPainter, tile: Tile, place: QRect) -> str:
    """Return the caption in one line where it fits, and the probability below where not."""
    if not tile.chance:
        return tile.caption
    line = f"{tile.caption}  {tile.chance}"
    fits = painter.fontMetrics().horizontalAdvance(line) <= place.width()
    return line if fits else f"{tile.caption}\n{tile.chance}"


def _paint_mark(painter: QPainter, place: QRect, mark: Verdict) -> None:
    """Cross a tile out, or put a question mark on it; a dark seam keeps it visible on bright."""
    rejected = mark is Verdict.REJECT
    color = QColor(_STYLE.rejected if rejected else _STYLE.unsure)
    inner = place.adjusted(4, 4, -4, -4)
    for pen in (QPen(QColor(_STYLE.paper), 6), QPen(color, 3)):
        painter.setPen(pen)
        painter.drawRect(inner)
        if rejected:
            painter.drawLine(inner.topLeft(), inner.bottomRight())
            painter.drawLine(inner.topRight(), inner.bottomLeft())
    if not rejected:
        font = painter.font()
        font.setPixelSize(place.height() // 2)
        painter.save()
        painter.setFont(font)
        painter.drawText(place, Qt.AlignmentFlag.AlignCenter, "?")
        painter.restore()


def _paint_crop(painter: QPainter, place: QRect, crop: GreyPicture) -> None:
    rows, columns = crop.shape
    # Named, because the image only borrows them.
    pixels = crop.tobytes()
    image = QImage(pixels, columns, rows, columns, QImage.Format.Format_Grayscale8)
    painter.drawImage(QRectF(place), image)
