"""Figures as text."""

from __future__ import annotations

from napari_neurobridge.io.text_table import text_lines, text_table


def test_table_aligns_and_shows_unknown_as_a_dash() -> None:
    text = text_table(("uid", "value"), [("fm-1", 0.5), ("fm-10", None)])
    assert text == "uid    value\nfm-1   0.500\nfm-10  -"


def test_fields_are_a_line_each() -> None:
    assert text_lines([("n", 3), ("model", None)]) == "n: 3\nmodel: None"
