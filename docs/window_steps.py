"""What a person does in the window, step by step, for the pictures of the documentation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
import tifffile
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDialog,
    QDoubleSpinBox,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QTableView,
    QToolButton,
    QWidget,
)

from napari_neurobridge.demo import TruePairs
from napari_neurobridge.io.crops import CropSpec
from napari_neurobridge.project.folder import Project
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.spaces.crop_frame import CropFrame
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.workbench.user_settings import FOLDER_VARIABLE
from window_user import LAPTOP_PX, StallWatch, User

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QMenu

    from napari_neurobridge.workbench.workbench import Workbench

N_PAIRS = 6
N_ASKED = 60
MOST_NONE = 0.3
SAME_CELL_UM = 5.0
ANOTHER_CELL_UM = 15.0
FAR_APART_UM = 60.0
DRAWN_S = 1.5
PLANE_DEPTH_UM = 25.0
PATIENCE_MS = 600_000


class EventLoop:
    """Runs Qt's events until something is so."""

    def waitUntil(self, callback: Callable[[], Any], *, timeout: int = PATIENCE_MS) -> None:
        """Return when the callback returns something true."""
        deadline = time.monotonic() + timeout / 1000
        while not callback():
            if time.monotonic() > deadline:
                raise TimeoutError("The program took longer than it should.")
            QTest.qWait(10)


def create_project(user: User, path: Path) -> None:
    """Press the button, and answer its dialog."""
    answer_dialogs(path)
    press(user, "create_button")
    user.wait(lambda: workbench_of(user).project is not None, PATIENCE_MS)
    user.settle()


def state_orientation(user: User, orientation: Orientation) -> None:
    """Type the axes, the angle and the expansion, and turn the fMOST side."""
    title = user.find(QToolButton, "title_orientation")
    user.reveal(title)
    if not title.isChecked():
        user.click(title)
    data = panel(user, "Data")
    axes = data.findChild(QComboBox, "axes").lineEdit()
    for name, text in (
        ("angle_deg", f"{orientation.angle_deg:g}"),
        ("expansion", f"{orientation.expansion:g}"),
    ):
        field = data.findChild(QWidget, name)
        user.reveal(field)
        user.type(field.findChild(QLineEdit) or field, text)
    user.reveal(axes)
    user.type(axes, orientation.axes)
    press(user, "orientation_button")


def accept_true_pairs(
    user: User, truth: TruePairs, before_last: Callable[[], None] = lambda: None
) -> None:
    """Press space until the cell's partner is listed, pick it by its number, and press A."""
    bench, accepted = workbench_of(user), []
    for _ in range(N_ASKED):
        user.press(Qt.Key.Key_Space)
        user.wait(lambda: bench.questions.snapshot.candidates, PATIENCE_MS)
        snapshot = bench.questions.snapshot
        number = true_candidate(snapshot, truth)
        if number is None or any(
            np.linalg.norm(np.subtract(snapshot.query.center_um, place)) < FAR_APART_UM
            for place in accepted
        ):
            continue
        accepted.append(snapshot.query.center_um)
        user.press(str(number))
        if len(accepted) == N_PAIRS:
            before_last()
        user.press("A")
        wait_for_match(user, required=False)
        if len(accepted) == N_PAIRS:
            return
    raise RuntimeError(f"Only {len(accepted)} cells had their partner among the candidates.")


def true_candidate(snapshot: Any, truth: TruePairs) -> int | None:
    """Return the number of the candidate that the simulation knows to be right."""
    partner_um = truth.partner_of(snapshot.query.center_um)
    if partner_um is None:
        return None
    for number, candidate in enumerate(snapshot.candidates, start=1):
        place_um = getattr(candidate, "center_um", None)
        if place_um is not None and np.linalg.norm(place_um - partner_um) <= SAME_CELL_UM:
            return number
    return None


def ask_a_likely_cell(user: User, truth: TruePairs) -> None:
    """Type the name of an undecided cell near the middle whose partner is probably there."""
    bench = workbench_of(user)
    match, somata = bench.matches.match, bench.project.state().somata["two_photon"]
    middle = np.mean([soma.center_um for soma in somata.values()], axis=0)
    waiting = [
        item.uid
        for item in bench.questions.queue()
        if not item.audit
        and match.judge(item.uid).none < MOST_NONE
        and truth.partner_of(somata[item.uid].center_um) is not None
    ]
    uid = min(waiting, key=lambda u: float(np.linalg.norm(somata[u].center_um - middle)))
    user.press(Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    field = next(f for f in all_of(user, QLineEdit, "find_field") if user.sees(f))
    user.do(lambda: QTest.keyClicks(field, uid))
    user.do(lambda: QTest.keyClick(field, Qt.Key.Key_Return))
    user.wait(lambda: bench.questions.answer is not None, PATIENCE_MS)
    user.settle(30)
    user.do(user.window.setFocus)
    user.press("1")


def show_all_tissue(user: User, size_px: tuple[int, int]) -> None:
    """Give the window a size, and press home over both canvases."""
    user.resize(size_px)
    for button in all_of(user, QPushButton, "home"):
        user.click(button)


def show_overlay(user: User, take: Callable[[str], None]) -> None:
    """Lay the fMOST image over the two-photon one, take the picture, and take it off again."""
    button = next(b for b in all_of(user, QWidget, "overlay_button") if b.isVisible())
    overlay = workbench_of(user).overlay
    user.click(button)
    user.wait(lambda: overlay.image is not None, PATIENCE_MS)
    take("overlay")
    user.click(button)


def review_on_the_sheet(user: User, truth: TruePairs, take: Callable[..., None]) -> None:
    """Mark what is wrong, page by page, and let a random check certify the rest."""
    bench = workbench_of(user)
    sheet = bench.contact_sheet
    bring_into_view(user, "contact_sheet_button")
    press(user, "contact_sheet_button")
    window = next(
        w
        for w in QApplication.topLevelWidgets()
        if isinstance(w, QDialog) and w.objectName() == "contact_sheet" and w.isVisible()
    )
    window.resize(LAPTOP_PX[0] - 20, LAPTOP_PX[1] - 80)
    window.activateWindow()
    user.wait(window.isActiveWindow)

    def finish_page() -> None:
        page = sheet.page
        for index, tile in enumerate(page.tiles):
            if is_wrong_pair(bench.project, tile.pair, truth):
                user.click(window.tiles, at=window.tiles.grid.place(index).center())
        user.press(Qt.Key.Key_Return)

    pictures_are_there(user, sheet)
    user.press("F")
    take("tutorial-09-sheet", of=window)
    finish_page()
    user.wait(lambda: sheet.n_left >= 0)
    wait_for_match(user)
    if user.find(QPushButton, "sheet_check_button").isEnabled():
        press(user, "sheet_check_button")
        while sheet.checking and sheet.page.tiles:
            pictures_are_there(user, sheet)
            finish_page()
            user.settle(30)
    take("tutorial-10-certificate", of=window)
    user.do(window.close)
    user.window.activateWindow()
    user.wait(user.window.isActiveWindow)
    wait_for_match(user)


def pictures_are_there(user: User, sheet: Any) -> None:
    """Wait until all crops of the page are cut."""
    user.wait(
        lambda: all(sheet.pictures(tile.pair) is not None for tile in sheet.page.tiles), PATIENCE_MS
    )


def look_at_a_row(user: User) -> None:
    """Click the second row of the table; both canvases go there."""
    table = user.find(QTableView, "pairs_table")
    user.wait(lambda: table.model().rowCount() > 2, PATIENCE_MS)
    at = table.visualRect(table.model().index(1, 0)).center()
    user.click(table.viewport(), at)
    user.wait(lambda: workbench_of(user).questions.answer is not None, PATIENCE_MS)


def export_all(user: User, folder: Path, look: Callable[[QMenu], None]) -> None:
    """Choose all tables in the menu of the button Export, after a look at the menu."""
    (folder / "tables").mkdir(exist_ok=True)
    answer_dialogs(Path("tables"))  # so that the picture names no folder of this machine
    button = user.find(QPushButton, "export_button")
    user.choose(button, "All tables", look=look)
    user.settle(30)


def write_planes(path: Path, truth: Path, axes: str) -> list[Path]:
    """Write a plane of either side of a project as two images, the fMOST one turned by 20°."""
    pairs, folder = TruePairs.read(truth), path.parent
    project = Project.open(path)
    middle = project.volume("two_photon").center_um
    off = np.abs(pairs.two_photon_um - (PLANE_DEPTH_UM, *middle[1:])) * (3, 1, 1)
    near = int(np.linalg.norm(off, axis=1).argmin())
    written = []
    for name, places, frame, size_um, slab_um in (
        ("two_photon", pairs.two_photon_um, Orientation(), 280, 10.0),
        ("fmost", pairs.fmost_um, Orientation(axes=axes, angle_deg=20), 320, 20.0),
    ):
        spec = CropSpec(size_um=size_um, pixels=size_um, slab_um=slab_um)
        (pixels,) = project.crops(name, [places[near]], CropFrame(frame.linear()), spec=spec)
        written.append(folder / f"{name} plane.tif")
        tifffile.imwrite(written[-1], (pixels * 4095).astype(np.uint16))
    project.close()
    return written


def register_planes_of_1_um(user: User) -> None:
    """Choose source and target, type the size of their pixels, and press Register."""
    for side, name in (("source", "two_photon plane"), ("target", "fmost plane")):
        chooser = user.find(QComboBox, f"{side}_layer")
        user.do(lambda chooser=chooser, name=name: chooser.setCurrentText(name))
        user.type(user.find(QDoubleSpinBox, f"{side}_pixel"), "1")
    press(user, "register_button")
    registering = workbench_of(user).registering
    user.wait(lambda: registering.planes is not None, PATIENCE_MS)
    user.settle(30)


def open_project(user: User, path: Path) -> None:
    """Press the button, and answer its dialog."""
    answer_dialogs(path)
    press(user, "open_button")
    user.wait(lambda: workbench_of(user).project is not None, PATIENCE_MS)
    wait_for_jobs(user)


def register_by_somata(user: User) -> None:
    """Press Register by somata, and apply what is found."""
    press(user, "register_somata_button")
    bench = workbench_of(user)
    user.wait(lambda: bench.soma_registration.decision is not None, PATIENCE_MS)
    user.settle(30)
    press(user, "apply_registration_button")
    user.wait(lambda: bench.ghost.offered, PATIENCE_MS)


def point_for_a_landmark(user: User) -> None:
    """Let both canvases look at a cell, begin a landmark, and rest the mouse on the cell."""
    bench = workbench_of(user)
    user.press(Qt.Key.Key_Space)
    user.wait(lambda: bench.questions.snapshot.query is not None, PATIENCE_MS)
    user.settle(30)
    press(user, "landmark_button")
    native = user.viewer.window._qt_viewer.canvas.native
    for away in (9, 0):
        place = native.rect().center() + QPoint(away, away)
        user.do(lambda place=place: QTest.mouseMove(native, place))
    shown = bench.magnifier.picture
    user.wait(lambda: shown("two_photon") and shown("fmost"), PATIENCE_MS)


# --- what the steps need -----------------------------------------------------------------------


def open_napari() -> User:
    """Open an empty napari as large as a laptop's screen."""
    viewer = napari.Viewer()
    user = User(viewer, EventLoop(), StallWatch())
    user.resize(LAPTOP_PX)
    return user


def close_napari(user: User) -> None:
    """Close the window, and forget where its docks lay."""
    user.viewer.close()
    user.settle()
    shutil.rmtree(os.environ[FOLDER_VARIABLE], ignore_errors=True)


def workbench_of(user: User) -> Workbench:
    """Return what the docks show, to know when to go on."""
    return binding_for(user.viewer).workbench


def panel(user: User, name: str) -> QWidget:
    """Return the inside of a dock."""
    return user.docks(name)[0].inner_widget()


def all_of(user: User, kind: type[Any], name: str) -> list[Any]:
    """Return all widgets of the window with a name."""
    return list(user.window.findChildren(kind, name))


def bring_into_view(user: User, name: str) -> None:
    """Scroll to a widget of the docks."""
    user.reveal(user.find(QWidget, name))


def press(user: User, name: str) -> None:
    """Scroll to a button, and click it."""
    button = user.find(QPushButton, name)
    user.reveal(button)
    user.click(button)


def answer_dialogs(path: Path) -> None:
    """Answer the file dialogs that come next; they are the system's own, beyond any script."""
    for question in ("getSaveFileName", "getOpenFileName"):
        setattr(QFileDialog, question, lambda *_, **__: (str(path), ""))
    QFileDialog.getExistingDirectory = lambda *_, **__: str(path)


def wait_for_jobs(user: User) -> None:
    """Wait until the program has nothing to do any more."""
    jobs = workbench_of(user).session.jobs
    user.settle()
    user.wait(lambda: not jobs.running() and not jobs.waiting(), PATIENCE_MS)
    user.settle(30)


def wait_for_match(user: User, *, required: bool = True) -> None:
    """Wait until the last verdict has told on all cells."""
    matches = workbench_of(user).matches
    user.wait(
        lambda: not matches.updating and (matches.has_match or not required),
        PATIENCE_MS,
    )
    user.settle(30)


def let_draw(user: User) -> None:
    """Let the canvases draw what they show now."""
    drawn = time.monotonic() + DRAWN_S
    user.wait(lambda: time.monotonic() > drawn)


def is_wrong_pair(project: Project, pair: tuple[str, str], truth: TruePairs) -> bool:
    """Return whether the simulation knows the cell's partner to be elsewhere."""
    somata = project.state().somata
    partner_um = truth.partner_of(somata["two_photon"][pair[0]].center_um)
    found_um = somata["fmost"][pair[1]].center_um
    return partner_um is not None and np.linalg.norm(found_um - partner_um) > ANOTHER_CELL_UM


def run(*arguments: object) -> str:
    """Run one command of the program, and return what it prints."""
    command = [sys.executable, "-m", "napari_neurobridge.cli", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
