"""Every text of the docks, measured in pixels: legible in napari's dark and light theme."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from napari._qt.widgets.qt_viewer_dock_widget import QtCustomTitleBar
from napari.qt import QtViewer
from napari.utils.theme import get_theme
from qtpy.QtGui import QIcon, QImage, QPalette
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QComboBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QToolButton,
    QWidget,
)
from superqt.utils import signals_blocked

from fixtures.projects import accept_true_pairs
from fixtures.user import DESK_PX, User
from napari_neurobridge.errors import InputError
from napari_neurobridge.project.folder import Project
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.docks import TABS
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.viewer.styles import NeighbourStyle, contrast
from napari_neurobridge.widgets.contact_sheet import ContactSheetWindow

_KINDS = (QLabel, QAbstractButton, QComboBox, QLineEdit)
TEXT, SYMBOL = 4.5, 3.0
"""Contrast that WCAG 2.2 asks for (1.4.3, AA; 1.4.11 for what is no text)."""

_MOST_INKS, _ROUNDING = 8, 6.0
Pixels = npt.NDArray[np.uint8]
Color = tuple[int, ...]
# A character that is neither white space nor within a tag or an entity.
_WRITTEN = re.compile(r"(<[^>]*>|&\w+;)|\S")
_SPAN = re.compile(r"<span style=.color:(#[0-9A-Fa-f]{6})[^>]*>([^<]*)</span>")


@dataclass(frozen=True)
class Measured:
    """The faintest colour of one text."""

    where: str
    text: str
    ink: Color
    ground: Color
    contrast: float
    needed: float


def _pixels(widget: QWidget, around: QWidget) -> Pixels:
    """Return what is drawn at a widget's place, (rows, columns, 3)."""
    place = widget.rect().translated(widget.mapTo(around, widget.rect().topLeft()))
    image = around.grab(place).toImage().convertToFormat(QImage.Format.Format_RGB888)
    pointer = image.constBits()
    pointer.setsize(image.sizeInBytes())
    rows = np.frombuffer(pointer, np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


@contextmanager
def _with_text(widget: QWidget, text: str, hint: str) -> Iterator[None]:
    """Let a widget say something else, in the same place, without an icon that would move."""
    old = _text_of(widget)
    with signals_blocked(widget):
        if isinstance(widget, QComboBox):
            widget.setItemText(widget.currentIndex(), text or hint)
            yield
            widget.setItemText(widget.currentIndex(), old)
        elif isinstance(widget, QLineEdit):
            typed, placeholder = widget.text(), widget.placeholderText()
            widget.setText(text if typed else "")
            widget.setPlaceholderText("" if typed else text)
            yield
            widget.setPlaceholderText(placeholder)
            widget.setText(typed)
        else:
            size = widget.size()
            icon = widget.icon() if isinstance(widget, QAbstractButton) else None
            if icon is not None:
                widget.setIcon(QIcon())
            widget.setText(text)
            widget.resize(size)
            yield
            widget.setText(old)
            if icon is not None:
                widget.setIcon(icon)


def _text_of(widget: QWidget) -> str:
    if isinstance(widget, QComboBox):
        return widget.currentText()
    if isinstance(widget, QLineEdit):
        return widget.text() or widget.placeholderText()
    return str(widget.text())


def measure(widget: QWidget, theme: str) -> Measured | None:
    """Return the faintest ink of a widget's text against what lies under it.

    In place of letters it is full blocks that are measured: letters have no pixel of one colour.
    """
    said, around = _text_of(widget), widget.window()
    with _with_text(widget, _in_place(said, "█"), ""):
        with_text = _pixels(widget, around)
    with _with_text(widget, _in_place(said, " ") if "<" in said else "", ""):
        without = _pixels(widget, around)
    inked = (with_text != without).any(axis=-1)
    if not inked.any():
        return None
    symbols = {color.upper() for color, words in _SPAN.findall(said) if not _has_words(words)}
    found = []
    for ink, ground in _inks(with_text[inked], without[inked]):
        needed = SYMBOL if "#{:02X}{:02X}{:02X}".format(*ink) in symbols else TEXT
        where = f"{theme}: {widget.objectName() or type(widget).__name__}"
        ratio = contrast(np.array(ink) / 255, np.array(ground) / 255)
        found.append(Measured(where, said[:60], ink, ground, ratio, needed))
    return min(found, key=lambda each: each.contrast / each.needed)


def _inks(drawn: Pixels, under: Pixels) -> Iterator[tuple[Color, Color]]:
    """Yield each colour that is drawn, and what it lies on; not the mixtures at edges."""
    colors, counts = np.unique(drawn, axis=0, return_counts=True)
    full: list[npt.NDArray[np.float64]] = []
    for color in colors[counts.argsort()[::-1]][:_MOST_INKS]:
        grounds, n = np.unique(under[(drawn == color).all(axis=-1)], axis=0, return_counts=True)
        ground = grounds[n.argmax()].astype(float)
        ways = [ink - ground for ink in full]
        shares = [float((color - ground) @ way / max(way @ way, 1.0)) for way in ways]
        mixed = any(
            share < 1.0 and np.abs(share * way - (color - ground)).max() < _ROUNDING
            for share, way in zip(shares, ways, strict=True)
        )
        if not mixed:
            full.append(color.astype(float))
            yield tuple(color.tolist()), tuple(int(part) for part in ground)


def _in_place(text: str, block: str) -> str:
    """Write a block in place of each character but for tags and white space."""
    return _WRITTEN.sub(lambda found: found[1] or block, text)


def _has_words(text: str) -> bool:
    return any(letter.isalnum() for letter in text)


def _measure_items(view: QAbstractItemView, theme: str) -> Iterator[Measured]:
    """Yield the colours that a table or list writes its rows with."""
    roles, palette = QPalette.ColorRole, view.palette()
    pairs = [(roles.Text, roles.Base), (roles.HighlightedText, roles.Highlight)]
    if view.alternatingRowColors():
        pairs.append((roles.Text, roles.AlternateBase))
    for ink, ground in pairs:
        colors = [tuple(palette.color(role).getRgb()[:3]) for role in (ink, ground)]
        ratio = contrast(*(np.array(color) / 255 for color in colors))
        where = f"{theme}: {view.objectName()} {ground.name}"
        yield Measured(where, "", colors[0], colors[1], ratio, TEXT)


def _measure_all(root: QWidget, theme: str) -> list[Measured]:
    found = []
    for widget in root.findChildren(QWidget):
        if not widget.isVisible() or widget.visibleRegion().isEmpty() or _is_naparis(widget):
            continue
        if isinstance(widget, QAbstractItemView):
            found += _measure_items(widget, theme)
        elif isinstance(widget, _KINDS) and _text_of(widget).strip():
            found += [one for one in [measure(widget, theme)] if one is not None]
    return found


def _is_naparis(widget: QWidget | None) -> bool:
    """Return whether a widget belongs to a canvas's sliders or to a dock's title."""
    while widget is not None:
        if isinstance(widget, QtViewer | QtCustomTitleBar):
            return True
        widget = widget.parentWidget()
    return False


@pytest.fixture
def binding(user: User, project_folder: Path) -> ViewerBinding:
    """A matched project in which a cell is asked about, all docks open."""
    project = Project.open(project_folder)
    accept_true_pairs(project, (1, 4, 7, 10))
    project.close()
    user.resize(DESK_PX)
    for name in TABS:
        user.menu("Plugins", "NeuroBridge", name)
    bound = binding_for(user.viewer)
    user.do(lambda: bound.workbench.setup.open_project(project_folder))
    user.wait(lambda: bound.second is not None and bound.second.header.image is not None)
    user.wait(lambda: bound.workbench.matches.has_match)
    user.do(bound.workbench.questions.next_query)
    user.wait(lambda: bound.workbench.questions.answer is not None)
    return bound


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_text_of_the_docks_is_legible(user: User, binding: ViewerBinding, theme: str) -> None:
    user.viewer.theme = theme
    binding.workbench.session.show_error(InputError("Something is wrong."))
    user.settle(50)
    found = _measure_all(binding.second.header, theme) + _measure_all(binding.header, theme)
    for name in TABS:
        dock = binding.column.dock(name)
        binding.column.raise_dock(name)
        for fold in dock.findChildren(QToolButton):
            if fold.isCheckable() and fold.isVisible():
                fold.setChecked(True)
        user.settle(60)
        found += _measure_all(dock, theme)

    user.do(user.find(QPushButton, "contact_sheet_button").click)
    (sheet,) = user.window.findChildren(ContactSheetWindow)
    user.settle(60)
    found += _measure_all(sheet, theme)
    sheet.close()
    menu = user.find(QToolButton, "legend_button").menu()
    menu.popup(user.window.pos())
    user.settle(30)
    found += _measure_all(menu, theme)
    menu.close()

    found.sort(key=lambda one: one.contrast / one.needed)
    print(*found[:12], sep="\n")  # noqa: T201  # what docs/benchmarks.md tells
    assert len(found) > 120
    assert [one for one in found if one.contrast < one.needed] == []


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_what_is_written_onto_canvases_is_legible(
    user: User, points_project_folder: Path, theme: str
) -> None:
    project = Project.open(points_project_folder)
    accept_true_pairs(project, (1, 4, 7, 10))
    project.close()
    user.viewer.theme = theme
    user.do(lambda: user.viewer.open(str(points_project_folder), plugin="napari-neurobridge"))
    bound = binding_for(user.viewer)
    user.wait(lambda: bound.second is not None and len(bound._sides()) == 2)
    for other in (theme, "dark", "light"):
        user.viewer.theme = other
        user.settle(30)
        for model, _ in bound._sides():
            canvas = np.array(get_theme(other).canvas.as_rgb_tuple(alpha=False)) / 255
            ink = bound._somata.layer(model).text.color.constant
            assert contrast(ink, canvas) >= TEXT
    badge = NeighbourStyle()
    assert badge.as_kwargs()["text"]["color"] == "white"
    assert contrast((1.0, 1.0, 1.0), badge.badge) >= TEXT
