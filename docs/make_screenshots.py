"""Make every picture of the documentation from the real program.

Run ``python docs/make_screenshots.py`` where there is a display, or under ``xvfb-run -a -s
"-screen 0 1920x1200x24"``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

from napari_neurobridge.demo import TruePairs
from napari_neurobridge.io.tables import write_points
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.viewer.readers import open_docks
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.widgets.insight_plots import Page
from napari_neurobridge.workbench.sample import SampleFiles
from napari_neurobridge.workflows.setup import DatasetSource, create_project

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_neurobridge.workbench.workbench import Workbench

IMAGES = Path(__file__).parent / "images"


WINDOW_PX = (1900, 1100)
N_PAIRS = 40
N_LANDMARKS = 8
N_LEAST_CERTAIN = 10
MOST_NONE = 0.5
SAME_CELL_UM = 5.0
PATIENCE_S = 600.0


def make_demo_screenshot(folder: Path) -> None:
    """Run the headless demo in a folder, and keep its picture of the window."""
    command = [sys.executable, "-m", "napari_neurobridge.cli", "demo", "--headless", "--json"]
    answer = subprocess.run(
        [*command, "--out", str(folder)], check=True, stdout=subprocess.PIPE, text=True
    )
    shutil.copyfile(json.loads(answer.stdout)["screenshot"], IMAGES / "demo.png")


def make_match_screenshot(folder: Path) -> None:
    """Ask about a cell of the demo's project, near a few accepted pairs."""
    files = SampleFiles(folder)
    accept_true_pairs(files, N_LANDMARKS)
    viewer, workbench = open_project(files.project)
    wait_until(lambda: "two_photon" in viewer.layers and binding_for(viewer).second.header.image)
    ask_near_the_middle(workbench)
    take(viewer, "match.png")
    viewer.close()


def make_points_screenshot(folder: Path) -> None:
    """Match the cells of the demo's project by nothing but their places."""
    files, tables = SampleFiles(folder), folder / "tables"
    tables.mkdir()
    source = Project.open(files.project)
    sources = []
    for spec in source.datasets.values():
        somata = source.state().somata[spec.name].values()
        table = tables / f"{spec.name}.csv"
        write_points(table, [s.uid for s in somata], [s.center_um for s in somata])
        sources.append(
            DatasetSource(spec.name, spec.role, points=table, orientation=spec.orientation)
        )
    project = create_project(tables / "points.neurobridge", sources)
    for one, other in source.state().pairs.items():
        annotate.accept(project, one, other, annotator="truth")
    source.close()
    project.close()
    viewer, workbench = open_project(tables / "points.neurobridge")
    ask_near_the_middle(workbench)
    take(viewer, "match-points.png")
    viewer.close()


def open_project(path: Path) -> tuple[napari.Viewer, Workbench]:
    """Open a project beside its docks, and wait until its cells are matched."""
    viewer = napari.Viewer(title="NeuroBridge")
    viewer.window.resize(*WINDOW_PX)
    open_docks(viewer)
    viewer.window.remove_dock_widget(viewer.window.dock_widgets["Data (NeuroBridge)"])
    workbench = binding_for(viewer).workbench
    workbench.setup.open_project(path)
    wait_until(lambda: workbench.matches.match is not None and not workbench.matches.updating)
    return viewer, workbench


def ask_near_the_middle(workbench: Workbench) -> None:
    """Ask about a cell that may well be found, with its surroundings in sight."""
    questions, somata = workbench.questions, workbench.project.state().somata["two_photon"]
    match = workbench.matches.match
    middle = np.mean([soma.center_um for soma in somata.values()], axis=0)

    def off_the_middle(uid: str) -> float:
        return float(np.linalg.norm(somata[uid].center_um - middle))

    waiting = [
        item.uid
        for item in questions.queue()
        if not item.audit and match.judge(item.uid).none < MOST_NONE
    ]
    questions.select("two_photon", min(waiting[:N_LEAST_CERTAIN], key=off_the_middle))
    wait_until(lambda: questions.answer is not None)


def make_insight_screenshots(folder: Path) -> None:
    """Accept true pairs of the demo's project, evaluate them, and explain one similarity."""
    files = SampleFiles(folder)
    accept_true_pairs(files, N_PAIRS)
    viewer = napari.Viewer(title="NeuroBridge")
    viewer.window.resize(*WINDOW_PX)
    open_docks(viewer)
    viewer.window.remove_dock_widget(viewer.window.dock_widgets["Data (NeuroBridge)"])
    _, dock = viewer.window.add_plugin_dock_widget("napari-neurobridge", "Insight")
    workbench = binding_for(viewer).workbench
    insights, questions = workbench.insights, workbench.questions
    workbench.setup.open_project(files.project)
    wait_until(lambda: "two_photon" in viewer.layers and binding_for(viewer).second.header.image)

    dock.evaluate_button.click()
    wait_until(lambda: insights.evaluation is not None and insights.progress is None)
    dock.show_page(Page.MAP)
    insights.select(int(np.argmax(np.diag(insights.evaluation.similarity))), fmost=False)
    wait_until(lambda: questions.choice is not None)
    dock.parent().raise_()
    take(viewer, "insight.png")

    dock.show_page(Page.ATTENTION)
    dock.explain_button.click()
    wait_until(lambda: insights.attention is not None)
    take(viewer, "insight-attention.png")
    viewer.close()


def accept_true_pairs(files: SampleFiles, n_pairs: int) -> None:
    """Accept so many pairs of detected somata that the simulation knows to be one cell."""
    project, truth = Project.open(files.project), TruePairs.read(files.truth)
    somata = [list(project.state().somata[name].values()) for name in project.datasets]
    centers = [np.array([soma.center_um for soma in side]) for side in somata]
    for places in zip(truth.two_photon_um, truth.fmost_um, strict=True):
        apart = [
            np.linalg.norm(c - place, axis=1) for c, place in zip(centers, places, strict=True)
        ]
        if len(project.state().pairs) < n_pairs and max(d.min() for d in apart) < SAME_CELL_UM:
            one, other = (side[d.argmin()].uid for side, d in zip(somata, apart, strict=True))
            annotate.accept(project, one, other, annotator="truth", force=True)
    project.close()


def take(viewer: napari.Viewer, name: str) -> None:
    """Let the canvases draw, and keep a picture of the window."""
    deadline = time.monotonic() + 3
    wait_until(lambda: time.monotonic() > deadline)
    viewer.window.screenshot(str(IMAGES / name), canvas_only=False, flash=False)


def wait_until(reached: Callable[[], object]) -> None:
    """Run Qt's events until something has come true."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError("The program took longer than ten minutes.")
        QApplication.processEvents()
        time.sleep(0.01)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        make_demo_screenshot(Path(temporary) / "demo")
        make_match_screenshot(Path(temporary) / "demo")
        make_points_screenshot(Path(temporary) / "demo")
        make_insight_screenshots(Path(temporary) / "demo")
