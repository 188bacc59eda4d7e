"""The legend names every mark that the canvases draw, in the colour in which they draw it."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLabel

from napari_neurobridge.io.traces import Trace
from napari_neurobridge.viewer.styles import MARK_COLORS, Mark
from napari_neurobridge.widgets.legend import (
    MARK_WORDS,
    LegendButton,
    entry_pixmap,
    legend_entries,
)
from napari_neurobridge.widgets.trace_view import TracePlot, envelope


def test_every_mark_is_explained_in_its_own_colour(qtbot: Any) -> None:
    assert set(MARK_WORDS) == set(Mark)
    entries = {entry.words: entry for entry in legend_entries()}
    assert len(entries) == len(legend_entries()), "no two say the same"
    for mark, words in MARK_WORDS.items():
        entry = entries[words]
        assert entry.color == MARK_COLORS[mark]
        image = entry_pixmap(entry).toImage()
        colors = {
            image.pixelColor(x, y).name()
            for x in range(image.width())
            for y in range(image.height())
        }
        assert QColor(MARK_COLORS[mark]).name() in colors
    told = " ".join(entries)
    for what in ("expected", "changed", "near the query", "disputed", "no partner"):
        assert what in told


def test_the_popup_holds_all_lines(qtbot: Any) -> None:
    button = LegendButton(("A", "2"))
    qtbot.addWidget(button)
    for _ in range(2):  # each time it opens
        button.menu().aboutToShow.emit()
    (action,) = button.menu().actions()
    table = action.defaultWidget()
    *words, keys = [label.text() for label in table.findChildren(QLabel) if label.text()]
    assert words == [entry.words for entry in legend_entries()]
    assert "2 (" in keys, "what napari has otherwise"
    assert "A (" in keys
    assert table.sizeHint().width() <= 400


def test_an_event_of_one_frame_is_seen_in_a_narrow_plot(qtbot: Any) -> None:
    values = np.zeros(10_000, dtype=np.float32)
    values[5_432] = 4.0
    ranges = envelope(values, 100)
    assert ranges.shape == (100, 2)
    assert ranges[54].tolist() == [0.0, 4.0]
    assert (np.delete(ranges, 54, axis=0) == 0.0).all()
    assert len(envelope(values[:3], 100)) == 3
    plot = TracePlot()
    qtbot.addWidget(plot)
    plot.resize(300, plot.height())
    empty = plot.grab().toImage()
    plot.show_trace(Trace(values, relative=True))
    assert plot.grab().toImage() != empty
    assert "dF/F" in plot.toolTip()
