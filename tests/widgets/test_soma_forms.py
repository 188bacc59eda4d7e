"""Detecting, detecting again, and taking it back, as a person does it in the Data dock."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QLabel,
    QPushButton,
    QScrollArea,
    QTabBar,
    QToolButton,
    QWidget,
)

from fixtures.user import User
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.widgets.data import DataPanel
from napari_neurobridge.workbench import child_process

W = TypeVar("W", bound=QWidget)

# What the command does, without searching an image for it.
DETECTED = """
import json, sys, time
import numpy as np
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
options = dict(zip(sys.argv[3::2], sys.argv[4::2]))
if sys.argv[1] != "detect":
    time.sleep(600)
sys.stderr.write(json.dumps({"done": 1, "total": 4, "message": "looking"}) + chr(10))
project = Project.open(sys.argv[2])
with project.lock():
    annotate.record_detection(
        project, options["--dataset"], np.random.default_rng().uniform(20, 60, (8, 3)),
        method="dog", params={"soma_diameter_um": float(options["--soma-diameter"])},
        annotator=options["--annotator"],
    )
project.close()
print(json.dumps({"n_somata": 22, "datasets": {options["--dataset"]: 22}}))
"""


@pytest.fixture
def person(user: User, project_folder: Path, monkeypatch: pytest.MonkeyPatch) -> User:
    """Somebody who has opened a project whose fMOST side was detected, with one pair of it."""
    monkeypatch.setattr(child_process, "_COMMAND", (sys.executable, "-c", DETECTED))
    user.menu("Plugins", "NeuroBridge", "Data")
    workbench = binding_for(user.viewer).workbench
    project = Project.open(project_folder)
    centers = np.random.default_rng(1).uniform(20, 60, (5, 3))
    annotate.record_detection(
        project,
        "fmost",
        centers,
        method="dog",
        params={"soma_diameter_um": 9.0},
        annotator=workbench.session.annotator,
    )
    found = [uid for uid, s in project.state().somata["fmost"].items() if s.source == "detected"]
    annotate.accept(project, sorted(project.state().somata["two_photon"])[0], found[0])
    project.close()
    workbench.setup.open_project(project_folder)
    user.wait(lambda: workbench.setup.index_state is not None)
    show_tab(user, "Data")
    title = user.find(QToolButton, "title_somata")
    if not title.isChecked():
        reveal(user, title)
        user.click(title)
    return user


def show_tab(user: User, title: str) -> None:
    """Click the tab of a dock."""
    for bar in user.window.findChildren(QTabBar):
        for place in range(bar.count()):
            if bar.tabText(place).startswith(title) and bar.isVisible():
                user.click(bar, bar.tabRect(place).center())
                return
    raise AssertionError(f"there is no tab {title}")


def reveal(user: User, widget: QWidget) -> None:
    """Scroll to a widget, as with the wheel, where it lies in a scroll area."""
    parent = widget.parentWidget()
    while parent is not None:
        if isinstance(parent, QScrollArea):
            parent.ensureWidgetVisible(widget)
        parent = parent.parentWidget()
    user.settle(10)


def seen(user: User, kind: type[W], name: str) -> W:
    """Return a widget of the Data dock: other docks have a status line, too."""
    found = user.window.findChild(DataPanel).findChild(kind, name)
    assert found is not None, f"there is no {name}"
    return found


def press(user: User, name: str) -> None:
    button = seen(user, QPushButton, name)
    reveal(user, button)
    user.click(button)


def counts(user: User) -> dict[str, int]:
    project = binding_for(user.viewer).workbench.project
    return {name: len(somata) for name, somata in project.state().somata.items()}


def idle(user: User) -> bool:
    jobs = binding_for(user.viewer).workbench.session.jobs
    return not jobs.running() and not jobs.waiting()


def test_detecting_again_asks_remembers_and_is_undone_in_one_click(person: User) -> None:
    workbench = binding_for(person.viewer).workbench
    before = workbench.project.state().somata["fmost"]
    person.find(QComboBox, "detect_dataset").setCurrentText("fmost")
    diameter = person.find(QDoubleSpinBox, "soma_diameter")
    assert diameter.value() == 9.0, "as the last time, although the dock is new"

    press(person, "detect_button")
    text = seen(person, QLabel, "status_text")
    assert text.text().startswith("Detecting again replaces 5 cells in fmost, 1 of them in pairs.")
    assert workbench.project.state().somata["fmost"] == before
    remedy = seen(person, QPushButton, "remedy_button")
    assert remedy.text() == "Detect again"
    press(person, "remedy_button")
    person.wait(lambda: idle(person) and "now" in text.text())
    assert workbench.project.state().somata["fmost"] != before

    press(person, "undo_detection_button")
    assert workbench.project.state().somata["fmost"] == before
    redo = seen(person, QPushButton, "redo_detection_button")
    assert redo.text() == "Redo detection in fmost (8 somata)"
    press(person, "redo_detection_button")
    assert workbench.project.state().somata["fmost"] != before


def test_both_sides_are_one_click_and_an_index_waits_its_turn(person: User) -> None:
    workbench = binding_for(person.viewer).workbench
    person.find(QComboBox, "detect_dataset").setCurrentText("two_photon")
    diameter = person.find(QDoubleSpinBox, "soma_diameter")
    reveal(person, diameter)
    person.type(diameter, "11")
    before = counts(person)
    press(person, "detect_both_button")
    press(person, "remedy_button")
    workbench.setup.index()
    assert workbench.session.jobs.running() == ("detect two_photon",)
    assert workbench.session.jobs.waiting() == ("detect fmost", "index")
    words = person.find(QLabel, "job_text_index").text()
    assert words == "Index: waits for Detection in fmost"
    person.wait(lambda: workbench.session.jobs.running() == ("index",))
    assert counts(person) == {"two_photon": before["two_photon"] + 8, "fmost": 14 + 8}
    assert workbench.detection.diameter_um("two_photon") == 11.0
    assert workbench.detection.diameter_um("fmost") == 9.0
    press(person, "cancel_index")
    person.wait(lambda: "kept" in seen(person, QLabel, "status_text").text())
    person.wait(lambda: idle(person))


def test_a_button_takes_the_width_of_a_narrow_dock(person: User) -> None:
    form: Any = person.find(QPushButton, "detect_button").parentWidget()
    assert form.minimumSizeHint().width() <= 400
