"""Reading arrays while another thread disturbs Python's parser."""

from __future__ import annotations

import pytest

from napari_neurobridge.io.parser_race import despite_parser_race


class Reader:
    """Fails some times, then reads."""

    def __init__(self, failures: int, words: str) -> None:
        self.left, self.words, self.calls = failures, words, 0

    @despite_parser_race
    def read(self, value: int, *, more: int = 0) -> int:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise SystemError(self.words)
        return value + more


def test_a_disturbed_parser_is_asked_again() -> None:
    reader = Reader(3, "AST constructor recursion depth mismatch (before=51, after=54)")
    assert reader.read(2, more=3) == 5
    assert reader.calls == 4


def test_what_stays_broken_or_is_broken_otherwise_is_told() -> None:
    always = Reader(99, "AST constructor recursion depth mismatch (before=1, after=2)")
    with pytest.raises(SystemError, match="mismatch"):
        always.read(0)
    assert always.calls == 5
    other = Reader(1, "something else")
    with pytest.raises(SystemError, match="else"):
        other.read(0)
    assert other.calls == 1
