"""Measure how fast the Pairs dock's table of 20,000 rows is collected, sorted, narrowed and drawn.

Prints a row of the table in docs/benchmarks.md. Needs no display where
QT_QPA_PLATFORM=offscreen.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_neurobridge.matching.matched_pairs import MatchedPair
from napari_neurobridge.project.log.events import VerdictEvidence
from napari_neurobridge.project.log.fold import StandingVerdict, State
from napari_neurobridge.types import Verdict
from napari_neurobridge.widgets.pairs_model import COLUMNS, PairsModel
from napari_neurobridge.widgets.pairs_view import PairsView
from napari_neurobridge.workbench.pair_rows import pair_rows
from napari_neurobridge.workbench.pair_table import Chip
from napari_neurobridge.workbench.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Callable

N_ROWS, N_DECIDED, N_STEPS = 20_000, 8_000, 100
SIDES = ("two_photon", "fmost")
SIZE_PX = (400, 460)


def decided_and_claimed() -> tuple[State, list[MatchedPair]]:
    """Return a project's state and a match that between them name 20,000 pairs."""
    random = np.random.default_rng(0)
    pairs = [(f"tp-{n:05d}", f"fm-{m:05d}") for n, m in enumerate(random.permutation(N_ROWS))]
    numbers = random.uniform(size=(N_ROWS, 2)).tolist()
    verdicts = tuple(
        StandingVerdict(
            event_id=f"{number:032x}",
            time=f"2026-11-22T{number % 24:02d}:{number % 60:02d}:00.000000+00:00",
            annotator="anna",
            verdict=(Verdict.ACCEPT, Verdict.REJECT, Verdict.UNSURE)[number % 3],
            query_uid=pair[0],
            query_dataset=SIDES[0],
            candidate_uid=pair[1],
            candidate_dataset=SIDES[1],
            pair=pair,
            datasets=SIDES,
            crosses=True,
            reason=None,
            evidence=VerdictEvidence(probability=numbers[number][0]),
        )
        for number, pair in enumerate(pairs[:N_DECIDED])
    )
    agreed = {v.pair: SIDES for v in verdicts if v.verdict is Verdict.ACCEPT and v.pair}
    claimed = [
        MatchedPair(*pair, probability, 20 * residual, 1.0, False)
        for pair, (probability, residual) in zip(pairs, numbers, strict=True)
    ]
    return State(verdicts=verdicts, agreed=agreed), claimed[N_DECIDED:]


def seconds(action: Callable[[], object]) -> float:
    """Return how long something takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    """Print what each step takes."""
    application = QApplication.instance() or QApplication([])
    state, claimed = decided_and_claimed()
    collect = [seconds(lambda: pair_rows(state, claimed, sides=SIDES)) for _ in range(5)]
    table = Workbench().pairs
    model = PairsModel(table)
    view = PairsView(model)
    view.resize(*SIZE_PX)
    view.show()
    table.rows = pair_rows(state, claimed, sides=SIDES)
    show = seconds(table.changed.emit)
    assert model.rowCount() == N_ROWS
    order = Qt.SortOrder.DescendingOrder
    sort = [seconds(lambda n=n: view.sortByColumn(n, order)) for n in range(len(COLUMNS))]
    chip = seconds(lambda: table.narrow([Chip.CLAIMED]))
    table.narrow([])
    words = seconds(lambda: table.narrow(words="fm-0123"))
    table.narrow(words="")
    view.selectRow(3)
    application.processEvents()

    def scroll(step: int) -> None:
        view.verticalScrollBar().setValue(step * (N_ROWS // N_STEPS))
        view.viewport().repaint()

    steps = [seconds(lambda step=step: scroll(step)) for step in range(N_STEPS)]
    told = (
        ("collect", statistics.median(collect)),
        ("show", show),
        ("slowest sort", max(sort)),
        ("chip", chip),
        ("words", words),
        (f"{N_STEPS} scroll steps", sum(steps)),
        ("slowest step", max(steps)),
    )
    print(
        f"{N_ROWS:,} rows: "
        + ", ".join(f"{name} {1e3 * value:.0f} ms" for name, value in told)
        + f" ({os.cpu_count()} cores)"
    )


if __name__ == "__main__":
    main()
