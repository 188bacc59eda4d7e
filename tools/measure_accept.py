"""Measure how long the window takes after an accepted pair, with projects of points of two sizes.

Opens napari on a display (or under xvfb-run), asks about one cell after the other, presses 1 and
A, and measures until the match is new, the question is asked of it and both canvases are drawn.
Prints what docs/benchmarks.md says; ``--profile`` adds where the main thread was.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from typing import TYPE_CHECKING

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from scipy.stats import special_ortho_group

from napari_neurobridge.io.tables import write_points
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import Role
from napari_neurobridge.viewer.docks import MATCH
from napari_neurobridge.viewer.readers import show_project
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.workflows.setup import DatasetSource, create_project
from window_user import LAPTOP_PX, Stall, StallWatch

if TYPE_CHECKING:
    from collections.abc import Callable


if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_neurobridge.viewer.binding import ViewerBinding

SIZES = ((1000, 1000), (500, 21_571))
N_LANDMARKS, N_ACCEPTED = 12, 10
UM_PER_CELL = 22.0
"""Edge of the cube of tissue that has one fMOST soma."""

SECONDS_TO_WAIT = 300
QUIET_S = 0.15
"""A window that has drawn nothing for so long, and handled all events, is done."""

OURS = f"{os.sep}napari_neurobridge{os.sep}"


def make_project(folder: Path, n_queries: int, n_gallery: int) -> dict[str, str]:
    """Make a project of two tables with some pairs accepted; return the true partners."""
    random = np.random.default_rng(1)
    edge = UM_PER_CELL * np.cbrt(n_gallery)
    cells = random.uniform(0, edge, (n_gallery, 3))
    bent = cells + 5 * np.sin(cells[:, [1, 2, 0]] / 70)
    turned = bent @ special_ortho_group.rvs(3, random_state=random).T
    middle = np.argsort(np.abs(cells - edge / 2).max(axis=1))[:n_queries]
    names = [f"tp-{n:05d}" for n in range(n_queries)], [f"fm-{n:05d}" for n in range(n_gallery)]
    tables = [folder.with_name(f"{name}.csv") for name in ("two_photon", "fmost")]
    write_points(tables[0], names[0], cells[middle])
    write_points(tables[1], names[1], turned + random.normal(0, 1.5, cells.shape))
    project = create_project(
        folder,
        [
            DatasetSource("two_photon", Role.IN_VIVO, points=tables[0]),
            DatasetSource("fmost", Role.EX_VIVO, points=tables[1]),
        ],
    )
    partners = {name: names[1][row] for name, row in zip(names[0], middle, strict=True)}
    for uid in random.permutation(names[0])[:N_LANDMARKS]:
        annotate.accept(project, str(uid), partners[str(uid)], annotator="measure")
    project.close()
    return partners


def wait(reached: Callable[[], object]) -> float:
    """Let the window work until something is so; return the seconds."""
    begun, loop = time.perf_counter(), QEventLoop()
    timer = QTimer()
    timer.timeout.connect(lambda: loop.quit() if reached() else None)
    timer.start(2)
    QTimer.singleShot(1000 * SECONDS_TO_WAIT, loop.quit)
    loop.exec()
    timer.stop()
    if not reached():
        raise TimeoutError("it never came")
    return time.perf_counter() - begun


class LastDrawing:
    """Knows when a canvas was last drawn.

    Parameters
    ----------
    binding : ViewerBinding
        Both of its canvases are listened to.
    """

    def __init__(self, binding: ViewerBinding) -> None:
        self.at = time.perf_counter()
        for view in (binding.viewer.window._qt_viewer.canvas, binding.second.qt_viewer.canvas):
            view._scene_canvas.events.draw.connect(self._note, position="last")

    def _note(self, _: object) -> None:
        self.at = time.perf_counter()

    def wait(self) -> None:
        """Wait until the window has nothing left to draw."""
        begun = time.perf_counter()
        wait(lambda: time.perf_counter() - max(self.at, begun) > QUIET_S)


def is_current(binding: ViewerBinding) -> bool:
    """Return whether the newest match is there, and the question was asked of it."""
    matches, questions = binding.workbench.matches, binding.workbench.questions
    answer = questions.answer
    return not matches.updating and answer is not None and answer.match is matches.match


def accept_one(binding: ViewerBinding, drawing: LastDrawing, uid: str) -> float:
    """Ask about a cell, accept its first candidate, and return the seconds until all is shown."""
    questions, matches = binding.workbench.questions, binding.workbench.matches
    questions.select("two_photon", uid)
    wait(lambda: is_current(binding) and questions.query.uid == uid)
    window, before = binding.viewer.window._qt_window, matches.match
    QTest.keyClick(window, "1")
    drawing.wait()
    begun = time.perf_counter()
    QTest.keyClick(window, "A")
    wait(lambda: matches.match is not before and is_current(binding))
    shown = time.perf_counter()
    drawing.wait()
    return max(shown, drawing.at) - begun


def innermost(stack: str) -> str:
    """Return the innermost line of ours in a stack."""
    ours = [line.strip() for line in stack.splitlines() if OURS in line]
    return ours[-1].rpartition(OURS)[2] if ours else "none of ours"


def in_words(watch: StallWatch) -> str:
    """Return the longest stall, and the one in which the main thread itself worked longest."""
    longest, busiest = watch.longest, max(watch.stalls, key=lambda one: one.cpu_s, default=Stall())
    return (
        f"longest stall {1000 * longest.seconds:.0f} ms ({innermost(longest.stack)}), most of the "
        f"main thread's own time {1000 * busiest.cpu_s:.0f} ms ({innermost(busiest.stack)})"
    )


def measure(n_queries: int, n_gallery: int, *, profile: bool) -> None:
    """Open a project of a size, accept pairs, and print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "p.neurobridge"
        partners = make_project(folder, n_queries, n_gallery)
        viewer = napari.Viewer()
        viewer.window._qt_window.setGeometry(0, 0, *LAPTOP_PX)
        viewer.window._qt_window.activateWindow()
        watch, opening = StallWatch(), StallWatch()
        opening.start()
        opening.enter()
        show_project(viewer, folder)
        binding = binding_for(viewer)
        opened = wait(lambda: binding.second is not None and len(binding._sides()) == 2)
        wait(lambda: binding.workbench.matches.has_match)
        binding.column.raise_dock(MATCH)
        binding.workbench.questions.next_query()
        wait(lambda: is_current(binding))
        opening.leave()
        opening.stop()
        state = binding.workbench.session.require_project().state()
        uids = [uid for uid in partners if uid not in state.pairs]
        drawing = LastDrawing(binding)
        accept_one(binding, drawing, uids.pop())
        profiler = cProfile.Profile()
        watch.start()
        watch.enter()
        if profile:
            profiler.enable()
        taken = [accept_one(binding, drawing, uid) for uid in uids[-N_ACCEPTED:]]
        profiler.disable()
        watch.leave()
        watch.stop()
        print(
            f"{n_queries:,} x {n_gallery:,} cells: an accepted pair is shown after "
            f"{statistics.median(taken):.2f} s (median of {N_ACCEPTED}), at most "
            f"{max(taken):.2f} s; {in_words(watch)}; opened after {opened:.2f} s, "
            f"{in_words(opening)}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        )
        if profile:
            for stall in sorted(watch.stalls, key=lambda one: -one.seconds)[:6]:
                print(f"{1000 * stall.seconds:.0f} ms\n{stall.stack}")
            pstats.Stats(profiler).sort_stats("cumulative").print_stats(60)
        binding.shut()
        viewer.close()


def main() -> None:
    """Print the figures of all sizes."""
    for n_queries, n_gallery in SIZES:
        measure(n_queries, n_gallery, profile="--profile" in sys.argv)
    QApplication.processEvents()


if __name__ == "__main__":
    main()
