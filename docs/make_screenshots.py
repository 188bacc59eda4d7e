"""Make every picture of the window in the documentation, as a person would come to see it.

Each picture is reached through napari's own menus, clicks and keys; only the answers of file
dialogs are given beforehand. Run it where there is a display, or under Xvfb, which takes some ten
minutes::

    xvfb-run -a -s "-screen 0 1920x1200x24" python docs/make_screenshots.py

The tutorial is photographed at 1366 x 768 pixels, everything else at 1920 x 1080. With ``--look
FOLDER`` each picture is taken at both sizes, into that folder, and those of the documentation stay
as they are: to see whether all fits. ``--only tutorial``, ``points`` or ``registration``
makes a part.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "tests"))

from napari.settings import get_settings
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QPushButton, QWidget
from window_steps import (
    PATIENCE_MS,
    accept_true_pairs,
    ask_a_likely_cell,
    bring_into_view,
    close_napari,
    create_project,
    export_all,
    let_draw,
    look_at_a_row,
    open_napari,
    open_project,
    panel,
    point_for_a_landmark,
    press,
    register_by_somata,
    register_planes_of_1_um,
    review_on_the_sheet,
    run,
    show_all_tissue,
    show_overlay,
    state_orientation,
    wait_for_jobs,
    wait_for_match,
    workbench_of,
    write_planes,
)

from napari_neurobridge.demo import TruePairs
from napari_neurobridge.io.tables import write_points
from napari_neurobridge.project.folder import Project
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.workbench.user_settings import FOLDER_VARIABLE
from window_user import LAPTOP_PX, User

if TYPE_CHECKING:
    from qtpy.QtWidgets import QMenu

IMAGES = DOCS / "images"
SCREEN_PX = (1920, 1080)
SCENE = ("--seed", "7", "--size-um", "100", "300", "300")


@dataclass
class Photographer:
    """Takes the pictures: each at its own size, or all at both sizes into a folder to look at."""

    look: Path | None

    def take(
        self, user: User, name: str, size_px: tuple[int, int], *, of: QWidget | None = None
    ) -> None:
        """Take a picture of the window, or of a dialog that has come up."""
        if self.look is None:
            self._take(user, IMAGES / f"{name}.png", size_px, of)
            return
        for size in (LAPTOP_PX, SCREEN_PX):
            self._take(user, self.look / f"{name}-{size[0]}.png", size, of)

    def _take(self, user: User, path: Path, size: tuple[int, int], of: QWidget | None) -> None:
        if of is None:
            user.resize(size)
        else:
            of.resize(size[0] - 20, size[1] - 80)
        let_draw(user)
        (user.window if of is None else of).grab().save(str(path))

    def take_menu(self, user: User, name: str, menu: QMenu) -> None:
        """Take a picture of the window with a menu that lies over it."""
        folder = IMAGES if self.look is None else self.look
        picture = user.window.grab()
        painter = QPainter(picture)
        at = user.window.mapFromGlobal(menu.mapToGlobal(menu.rect().topLeft()))
        # As it lies on a screen that ends where the window ends.
        at.setX(min(at.x(), user.window.width() - menu.width()))
        painter.drawPixmap(at, menu.grab())
        painter.end()
        picture.save(str(folder / f"{name}.png"))


def tutorial(photographer: Photographer, folder: Path) -> None:
    """From two files to an exported table, and a look at all docks on the way."""
    run("simulate", folder / "scene", *SCENE)
    truth = TruePairs.read(folder / "scene" / "truth.csv")
    orientation = Orientation.model_validate_json((folder / "scene/orientation.json").read_text())
    user = open_napari()

    def take(name: str, **options: Any) -> None:
        photographer.take(user, name, LAPTOP_PX, **options)

    def take_large(name: str) -> None:
        show_all_tissue(user, SCREEN_PX)
        photographer.take(user, name, SCREEN_PX)
        show_all_tissue(user, LAPTOP_PX)

    user.menu("Plugins", "NeuroBridge", "Data")
    take("tutorial-01-data")
    scene = folder / "scene"
    user.drop(panel(user, "Data"), [scene / "two_photon.ome.tif", scene / "fmost.ome.zarr"])
    user.wait(user.find(QPushButton, "create_button").isEnabled)
    take("tutorial-02-dropped")
    create_project(user, folder / "mouse17.neurobridge")
    take("tutorial-03-created")
    state_orientation(user, orientation)
    take("tutorial-04-oriented")
    press(user, "detect_both_button")
    wait_for_jobs(user)
    take("tutorial-05-detected")
    press(user, "index_button")
    wait_for_jobs(user)
    take("tutorial-06-indexed")
    take_large("data")

    user.show_tab("Match")
    accept_true_pairs(user, truth, before_last=lambda: take("tutorial-07-question"))
    wait_for_match(user)
    let_draw(user)
    bring_into_view(user, "contact_sheet_button")
    take("tutorial-08-matched")
    ask_a_likely_cell(user, truth)
    take_large("match")
    show_overlay(user, take_large)
    review_on_the_sheet(user, truth, take)
    user.show_tab("Pairs")
    look_at_a_row(user)
    take("tutorial-11-pairs")
    take_large("pairs")
    user.show_tab("Data")
    export_all(user, folder, lambda menu: photographer.take_menu(user, "tutorial-12-export", menu))
    user.menu("Plugins", "NeuroBridge", "Insight")
    press(user, "evaluate_button")
    insights = workbench_of(user).insights
    user.wait(lambda: insights.evaluation is not None and insights.progress is None, PATIENCE_MS)
    press(user, "page_map")
    take_large("insight")
    press(user, "page_attention")
    press(user, "explain_button")
    user.wait(lambda: insights.attention is not None, PATIENCE_MS)
    take_large("insight-attention")
    close_napari(user)


def points(photographer: Photographer, folder: Path) -> None:
    """Two tables of points, without any image."""
    run("simulate", folder / "scene", *SCENE)
    truth = TruePairs.read(folder / "scene" / "truth.csv")
    source, tables = folder / "scene.neurobridge", folder / "tables"
    orientation = folder / "scene" / "orientation.json"
    sides = (folder / "scene/two_photon.ome.tif", folder / "scene/fmost.ome.zarr")
    run("init", source, "--two-photon", sides[0], "--fmost", sides[1])
    run("detect", source)
    tables.mkdir()
    project = Project.open(source)
    for name, somata in project.state().somata.items():
        table = tables / f"{name}_cells.csv"
        write_points(table, list(somata), [soma.center_um for soma in somata.values()])
    project.close()
    user = open_napari()
    user.menu("Plugins", "NeuroBridge", "Data")
    user.drop(panel(user, "Data"), [tables / "two_photon_cells.csv", tables / "fmost_cells.csv"])
    create_project(user, tables / "points.neurobridge")
    state_orientation(user, Orientation.model_validate_json(orientation.read_text()))
    user.show_tab("Match")
    accept_true_pairs(user, truth)
    wait_for_match(user)
    ask_a_likely_cell(user, truth)
    show_all_tissue(user, SCREEN_PX)
    photographer.take(user, "match-points", SCREEN_PX)
    close_napari(user)


def registration(photographer: Photographer, folder: Path) -> None:
    """Two images of planes, and then a project, in the Register dock; a landmark."""
    scene, project = folder / "scene", folder / "mouse17.neurobridge"
    run("simulate", scene, *SCENE)
    sides = (scene / "two_photon.ome.tif", scene / "fmost.ome.zarr")
    run("init", project, "--two-photon", sides[0], "--fmost", sides[1])
    run("detect", project)
    orientation = Orientation.model_validate_json((scene / "orientation.json").read_text())
    planes = write_planes(project, scene / "truth.csv", orientation.axes)

    user = open_napari()
    user.drop(user.viewer.window._qt_viewer, planes)
    user.wait(lambda: len(user.viewer.layers) == len(planes), PATIENCE_MS)
    user.menu("Plugins", "NeuroBridge", "Register")
    user.settle(60)
    register_planes_of_1_um(user)
    press(user, "show_matches_button")
    press(user, "side_by_side_button")
    user.settle(80)
    photographer.take(user, "register", LAPTOP_PX)
    close_napari(user)

    user = open_napari()
    user.menu("Plugins", "NeuroBridge", "Data")
    open_project(user, project)
    state_orientation(user, orientation)
    user.menu("Plugins", "NeuroBridge", "Register")
    user.settle(60)
    register_by_somata(user)
    photographer.take(user, "register-project", LAPTOP_PX)
    user.show_tab("Pairs")
    point_for_a_landmark(user)
    photographer.take(user, "landmark", LAPTOP_PX)
    close_napari(user)


PARTS = {"tutorial": tutorial, "points": points, "registration": registration}


def main() -> None:
    """Make the pictures that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--look", type=Path, help="folder for all pictures at both sizes")
    parser.add_argument("--only", choices=PARTS, help="make a part of the pictures")
    options = parser.parse_args()
    photographer = Photographer(options.look and options.look.resolve())
    (photographer.look or IMAGES).mkdir(parents=True, exist_ok=True)
    get_settings().application.save_window_geometry = False
    for name in [options.only] if options.only else PARTS:
        with tempfile.TemporaryDirectory() as temporary:
            os.environ[FOLDER_VARIABLE] = str(Path(temporary) / "settings")
            os.chdir(temporary)
            PARTS[name](photographer, Path(temporary))
            os.chdir(DOCS)


if __name__ == "__main__":
    main()
