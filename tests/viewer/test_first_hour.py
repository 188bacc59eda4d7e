"""A user's first hour, by real menus, clicks and keys, on a laptop and on a large screen.

Run with ``-s``, it prints a row of docs/benchmarks.md for each step: inputs, seconds, and how long
the window stood still at most.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QFileDialog,
    QMenu,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QToolButton,
    QWidget,
)
from typer.testing import CliRunner

from fixtures.user import DESK_PX, LAPTOP_PX, Stall, User
from napari_neurobridge.cli._app import app
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.docks import TABS
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.workbench.contact_sheet import ContactSheet

pytestmark = pytest.mark.slow

SAME_CELL_UM = 6.0
N_PAIRS = 6
LONG_MS = 600_000


@dataclass
class Hour:
    """What happened so far, step by step."""

    user: User
    rows: list[tuple[str, int, float, Stall]] = field(default_factory=list)
    faults: set[str] = field(default_factory=set)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count the inputs and seconds of a step, and what stood still."""
        inputs, begun = self.user.inputs, time.perf_counter()
        self.user.watch.stalls.clear()
        yield
        spent = time.perf_counter() - begun
        self.rows.append((name, self.user.inputs - inputs, spent, self.user.watch.longest))

    def in_words(self) -> str:
        """A table of the steps, and where the longest stall was."""
        lines = ["| step | inputs | s | longest stall, ms |", "|---|--:|--:|--:|"]
        for name, inputs, spent, stall in self.rows:
            lines.append(f"| {name} | {inputs} | {spent:.0f} | {1000 * stall.seconds:.0f} |")
        inputs = sum(row[1] for row in self.rows)
        spent = sum(row[2] for row in self.rows)
        lines.append(f"| all | {inputs} | {spent:.0f} | |")
        worst = [f"{name}: {stall.stack}" for name, _, _, stall in self.rows if stall.seconds > 0.1]
        return "\n".join(lines + worst)


class Onlooker:
    """Looks at the window all the time, and notes what no user should see for long."""

    def __init__(self, hour: Hour) -> None:
        self._hour = hour
        self._seen: dict[str, int] = {}
        self._timer = QTimer()
        self._timer.timeout.connect(self._look)
        self._timer.start(300)

    def stop(self) -> None:
        self._timer.stop()

    def _look(self) -> None:
        now = set(self._faults())
        # What lasts longer than a layout takes is a fault; a bar may be silent for three seconds.
        self._seen = {fault: self._seen.get(fault, 0) + 1 for fault in now}
        for fault, times in self._seen.items():
            if times >= (10 if fault.startswith("bar") else 4):
                self._hour.faults.add(fault)

    def _faults(self) -> Iterator[str]:
        user = self._hour.user
        if binding_for(user.viewer).closed:
            return
        window = user.window
        if window.width() > user.screen_px[0] or window.height() > user.screen_px[1]:
            yield f"window of {window.width()} × {window.height()} px"
        for name in TABS:
            if len(docks := user.docks(name)) > 1:
                yield f"{len(docks)} {name} docks"
        yield from self._layout_faults()
        for bar in window.findChildren(QProgressBar):
            if bar.isVisible() and bar.maximum() == 0 and not _words_beside(bar):
                yield f"bar {bar.objectName()} without words"

    def _layout_faults(self) -> Iterator[str]:
        user, window = self._hour.user, self._hour.user.window
        binding = binding_for(user.viewer)
        if binding.second is not None and binding.second.isVisible():
            for width in (binding.second.width(), window.centralWidget().width()):
                if width < 300:
                    yield f"a canvas of {width} px"
        front = user.docks(binding.column.front()) if binding.column.front() else []
        for dock in front:
            if not user.shows(dock):
                yield f"{dock.name} outside of the window"


def _words_beside(bar: QProgressBar) -> bool:
    row = bar.parentWidget()
    texts = [getattr(child, "text", str)() for child in row.findChildren(QWidget)]
    return bool(bar.text().strip() or any(str(text).strip() for text in texts))


def assert_buttons_can_be_seen(user: User, panel: QWidget) -> None:
    """Every button of a panel is in sight, at once or after scrolling down to it."""
    names = [button.objectName() for button in panel.findChildren(QAbstractButton)]
    for name in filter(None, names):
        button = panel.findChild(QAbstractButton, name)
        if button is None or not button.isVisible():
            continue  # such as the Cancel of a job that has ended
        area = _scroll_area_of(button)
        if area is None:
            assert user.sees(button), f"{name} of {panel.objectName()}"
            continue
        area.ensureWidgetVisible(button, 0, 10)
        QApplication.processEvents()
        content, shown = area.widget(), area.viewport()
        place = f"at {button.mapTo(shown, QPoint())} of {shown.size()}"
        least = content.minimumSizeHint()
        assert user.sees(button), f"{name}: {place}; contents {content.size()}, at least {least}"


def _scroll_area_of(widget: QWidget) -> QScrollArea | None:
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QScrollArea):
        parent = parent.parentWidget()
    return parent


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated scene, as two files that somebody brings along."""
    folder = tmp_path_factory.mktemp("scene")
    size = ["--size-um", "120", "320", "320"]
    result = CliRunner().invoke(app, ["simulate", str(folder), "--seed", "3", *size])
    assert result.exit_code == 0, result.output
    return folder


def _drop(user: User, panel: QWidget, files: list[Path]) -> None:
    """Drop files on a panel."""
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in files])
    copy, left = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    none = Qt.KeyboardModifier.NoModifier

    def act() -> None:
        enter = QDragEnterEvent(QPoint(20, 20), copy, mime, left, none)
        QApplication.sendEvent(panel, enter)
        assert enter.isAccepted()
        drop = QDropEvent(QPointF(20, 20), copy, mime, left, none)
        QApplication.sendEvent(panel, drop)

    user.do(act)


def _open_form(user: User, binding: ViewerBinding, step: str) -> None:
    """Open a line of the checklist, unless it has opened itself."""
    title = user.find(QToolButton, f"title_{step}")
    if not title.isChecked():
        _click(user, title)


def _click(user: User, button: QWidget) -> None:
    """Click a widget of a dock, scrolling to it as a user does."""
    area = _scroll_area_of(button)
    if area is not None:
        user.do(lambda: area.ensureWidgetVisible(button, 0, 10))
    user.click(button)


def _window_named(name: str) -> QWidget:
    return next(window for window in QApplication.topLevelWidgets() if window.objectName() == name)


def _true_partners(scene: Path, binding: ViewerBinding) -> dict[str, str]:
    """Return the detected partner of each detected two-photon cell, by the scene's truth."""
    somata = binding.workbench.project.state().somata
    known = {
        name: (list(somata[name]), np.array([s.center_um for s in somata[name].values()]))
        for name in ("two_photon", "fmost")
    }

    def detected(name: str, row: dict[str, str]) -> str | None:
        place = np.array([float(row[f"{name}_{axis}_um"]) for axis in "zyx"])
        uids, centers = known[name]
        distance = np.linalg.norm(centers - place, axis=1)
        return uids[int(distance.argmin())] if distance.min() < SAME_CELL_UM else None

    partners = {}
    with (scene / "truth.csv").open() as file:
        for row in csv.DictReader(file):
            if row["two_photon_uid"] and row["fmost_uid"] and row["in_fmost"] == "1":
                one, other = detected("two_photon", row), detected("fmost", row)
                if one and other:
                    partners[one] = other
    return partners


def _pick(user: User, binding: ViewerBinding, partner: str) -> bool:
    """Pick a candidate by its digit key; whether it is among those that have one."""
    shown = binding.workbench.questions.snapshot.candidates
    place = next((line.place for line in shown if line.uid == partner), None)
    if place is None:
        return False
    user.press(str(place))
    return True


@pytest.fixture
def hour(user: User) -> Iterator[Hour]:
    """A count of what happens, while somebody looks on."""
    hour = Hour(user)
    onlooker = Onlooker(hour)
    yield hour
    onlooker.stop()


@pytest.mark.parametrize("size", [LAPTOP_PX, DESK_PX], ids=["laptop", "desk"])
def test_the_first_hour(
    user: User,
    hour: Hour,
    scene: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    make_napari_viewer: Callable[..., Any],
) -> None:
    user.resize(size)
    folder, out = tmp_path / "mouse.neurobridge", tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(folder), ""))

    with hour.step("open the Data dock"):
        user.menu("Plugins", "NeuroBridge", "Data")
    binding = binding_for(user.viewer)
    questions, matches = binding.workbench.questions, binding.workbench.matches
    data = binding.column.dock("Data").inner_widget()

    with hour.step("drop two files, create the project"):
        _drop(user, data, [scene / "two_photon.ome.tif", scene / "fmost.ome.zarr"])
        create = user.find(QPushButton, "create_button")
        user.wait(create.isEnabled)
        user.click(create)
        user.wait(lambda: binding.second is not None and binding.second.header.image is not None)
        user.wait(lambda: binding.header.image is not None)
        user.settle(60)
    assert_buttons_can_be_seen(user, data)

    with hour.step("orient"):
        _open_form(user, binding, "orientation")
        axes = user.find(QComboBox, "axes")
        user.type(axes.lineEdit(), json.loads((scene / "orientation.json").read_text())["axes"])
        _click(user, user.find(QPushButton, "orientation_button"))
        project = binding.workbench.project
        user.wait(lambda: project.dataset("fmost").orientation is not None)

    with hour.step("detect both"):
        _open_form(user, binding, "somata")
        _click(user, user.find(QPushButton, "detect_both_button"))
        user.wait(lambda: all(project.state().somata.get(n) for n in project.datasets), LONG_MS)
        user.wait(lambda: not binding.workbench.session.jobs.running(), LONG_MS)
    assert_buttons_can_be_seen(user, data)
    partners = _true_partners(scene, binding)
    assert len(partners) > 3 * N_PAIRS

    with hour.step("index"):
        _open_form(user, binding, "index")
        _click(user, user.find(QPushButton, "index_button"))
        user.wait(lambda: binding.workbench.setup.index_state.complete, LONG_MS)

    with hour.step(f"{N_PAIRS} pairs"):
        user.menu("Plugins", "NeuroBridge", "Match")  # hides it, if it was open already
        if not user.docks("Match"):
            user.menu("Plugins", "NeuroBridge", "Match")
        user.settle(40)
        accepted = 0
        while accepted < N_PAIRS:
            user.press(Qt.Key.Key_Space)
            user.wait(lambda: questions.answer is not None or questions.problem)
            partner = partners.get(questions.query.uid)
            if partner is None or not _pick(user, binding, partner):
                continue
            user.press("A")
            accepted += 1
            user.wait(lambda n=accepted: len(project.state().pairs) == n)
    match_dock = binding.column.dock("Match").inner_widget()
    assert_buttons_can_be_seen(user, match_dock)

    with hour.step("match"):
        user.wait(lambda: matches.has_match and not matches.updating, LONG_MS)
    claims = matches.claims()
    right = [
        partners[p.in_vivo_uid] == p.ex_vivo_uid for p in claims.pairs if p.in_vivo_uid in partners
    ]
    assert np.mean(right) > 0.8, "the hour must end with pairs that are worth something"

    with hour.step("contact sheet, one page"):
        _click(user, user.find(QPushButton, "contact_sheet_button"))
        sheet: ContactSheet = binding.workbench.contact_sheet
        user.wait(lambda: len(sheet.page.tiles) > 0, LONG_MS)
        window = next(
            w for w in QApplication.topLevelWidgets() if w.objectName() == "contact_sheet"
        )
        user.settle(100)
        n_before = len(project.state().pairs)
        assert_buttons_can_be_seen(user, window)
        user.press(Qt.Key.Key_Return)
        user.wait(lambda: len(project.state().pairs) > n_before)
        user.press(Qt.Key.Key_Escape)
    user.window.activateWindow()
    user.wait(user.window.isActiveWindow)

    with hour.step("export"):
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(out))
        user.menu("Plugins", "NeuroBridge", "Data")
        if not user.docks("Data"):
            user.menu("Plugins", "NeuroBridge", "Data")
        menu = user.find(QMenu, "export_menu")
        menu.aboutToShow.emit()
        entry = next(a for a in menu.actions() if a.text().startswith("All tables"))
        user.do(entry.trigger)
        user.wait(lambda: any(out.glob("*.csv")))
    pairs = dict(project.state().pairs)

    with hour.step("close"):
        user.settle(200)
        binding.shut()

    later = User(make_napari_viewer(show=True), user.qtbot, user.watch)
    later.resize(size)
    hour.user = later
    with hour.step("reopen"):
        later.do(lambda: later.viewer.open(str(folder), plugin="napari-neurobridge"))
        again = binding_for(later.viewer)
        later.wait(lambda: again.second is not None and again.second.header.image is not None)
        later.wait(lambda: again.workbench.matches.has_match, LONG_MS)
    assert dict(again.workbench.project.state().pairs) == pairs
    again.shut()

    sys.stdout.write(f"\n{hour.in_words()}\n")
    assert not hour.faults
