"""Measure how fast the contact sheet answers somebody who knows all pairs, at a laptop's size.

Opens napari on a display (or under xvfb-run) with a project of two small volumes, goes through
all pages by real clicks and keys, and prints what docs/benchmarks.md says: inputs, the longest
wait for one of them, the longest stall of the window, and what a page costs beside looking.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import napari
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton

from fixtures.pictured import write_world
from fixtures.user import StallWatch
from napari_neurobridge.viewer.readers import show_project
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.widgets.contact_sheet import ContactSheetWindow

N_QUERIES, N_GALLERY, FIELD_UM = 1000, 1000, (300.0, 640.0, 640.0)
ROOM_PX = (1346, 688)
MOST_PAGES = 12
LOOK_S = 5.0
"""How long our person looks at a page; at 600 pairs an hour it is 288 s."""

SECONDS_TO_WAIT = 600


def wait(reached) -> float:
    """Let the window work until something is so; return the seconds."""
    begun = time.perf_counter()
    while not reached():
        QApplication.processEvents()
        if time.perf_counter() - begun > SECONDS_TO_WAIT:
            raise TimeoutError("it never came")
    return time.perf_counter() - begun


def main() -> None:
    """Go through all pages and print the figures."""
    with tempfile.TemporaryDirectory() as name:
        world = write_world(Path(name), N_QUERIES, N_GALLERY, FIELD_UM)
        world.project(Path(name) / "p.neurobridge", 8).close()
        viewer = napari.Viewer()
        try:
            measure(viewer, world, Path(name) / "p.neurobridge")
        finally:
            binding_for(viewer).shut()
            viewer.close()


def measure(viewer, world, folder: Path) -> None:
    """Open the project, look through all claimed pairs, and print the figures."""
    show_project(viewer, folder)
    workbench = binding_for(viewer).workbench
    sheet = workbench.contact_sheet
    wait(lambda: workbench.matches.has_match and not workbench.matches.updating)
    viewer.window._qt_window.findChild(QPushButton, "contact_sheet_button").click()
    window = next(w for w in QApplication.topLevelWidgets() if isinstance(w, ContactSheetWindow))
    window.resize(*ROOM_PX)
    pictures = lambda: all(sheet.pictures(tile.pair) is not None for tile in sheet.page.tiles)  # noqa: E731
    print(f"first page of {len(sheet.page.tiles)} pairs: {wait(pictures):.2f} s")
    watch = StallWatch()
    watch.start()
    watch.enter()
    clicks, pages, busy, pairs = [], [], [], 0
    while sheet.page.tiles and len(pages) < MOST_PAGES:
        until = time.perf_counter() + LOOK_S
        wait(lambda until=until: time.perf_counter() > until and not workbench.matches.updating)
        for _ in range(2):  # marks a pair, and takes the mark away again
            begun = time.perf_counter()
            place = window.tiles.grid.place(5).center()
            QTest.mouseClick(window.tiles, Qt.MouseButton.LeftButton, pos=place)
            QApplication.processEvents()
            clicks.append(time.perf_counter() - begun)
        pairs += len(sheet.page.tiles)
        begun, thread = time.perf_counter(), time.thread_time()
        QTest.keyClick(window.tiles, Qt.Key.Key_Return)
        busy.append(time.thread_time() - thread)
        wait(pictures)
        pages.append(time.perf_counter() - begun)
    watch.leave()
    watch.stop()
    print(f"{pairs} pairs on {len(pages)} pages, a key each and a click for each wrong pair")
    print(f"click to mark: median {statistics.median(clicks):.3f} s, longest {max(clicks):.3f} s")
    print(
        f"Enter to the next page with all crops: median {statistics.median(pages):.3f} s, "
        f"longest {max(pages):.3f} s; of that the window's thread computes "
        f"{statistics.median(busy):.3f} s, at most {max(busy):.3f} s"
    )
    print(f"longest stall of the window: {watch.longest.seconds:.3f} s")
    for stall in sorted(watch.stalls, key=lambda stall: -stall.seconds)[:4]:
        ours = [line for line in stall.stack.splitlines() if "napari_neurobridge" in line]
        print(
            f"  {stall.seconds:.3f} s in", ours[-1].split("napari_neurobridge/")[-1] if ours else ""
        )


if __name__ == "__main__":
    main()
