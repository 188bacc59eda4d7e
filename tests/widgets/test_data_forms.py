"""The Data dock's forms in a column of 400 pixels, as somebody types into them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDoubleSpinBox, QFileDialog, QLabel, QLineEdit, QPushButton, QToolButton

from fixtures.user import User
from napari_neurobridge.types import Role
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.widgets.image_forms import VoxelSizeForm
from napari_neurobridge.workbench.workbench import Workbench


@pytest.fixture
def bench(user: User) -> Workbench:
    """The workbench of a window in which the Data dock was opened from the menu."""
    user.menu("Plugins", "NeuroBridge", "Data")
    return binding_for(user.viewer).workbench


@pytest.fixture
def silent_stack(tmp_path: Path) -> Path:
    """A stack whose file says neither axes nor voxel size."""
    path = tmp_path / "silent.tif"
    pixels = np.random.default_rng(0).integers(0, 99, (6, 60, 60)).astype(np.uint16)
    tifffile.imwrite(path, pixels, metadata=None, photometric="minisblack")
    return path


def _choose(user: User, monkeypatch: pytest.MonkeyPatch, side: str, path: Path) -> None:
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    user.click(user.find(QPushButton, f"{side}_file_button"))


def test_typed_axes_are_used_also_after_the_file_was_chosen(
    user: User, bench: Workbench, silent_stack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = user.find(QLabel, "status_text")
    _choose(user, monkeypatch, "two_photon", silent_stack)
    user.wait(lambda: "state their order as 'axes'" in status.text())
    field = user.find(QLineEdit, "two_photon_axes")
    user.type(field, "zyx")
    user.press(Qt.Key.Key_Return)
    user.wait(lambda: Role.IN_VIVO in bench.setup.draft.images)
    assert bench.setup.draft.images[Role.IN_VIVO].info.axes == "zyx"
    assert status.text() == "", "the error is mended"

    user.click(user.find(QToolButton, "title_two_photon"))
    user.type(field, "cxy")
    user.click(user.find(QLineEdit, "fmost_axes"))
    user.wait(lambda: bench.setup.draft.images[Role.IN_VIVO].info.axes == "cxy")
    user.type(field, "yx")
    user.press(Qt.Key.Key_Return)
    user.wait(lambda: "has 3 axes, but 'yx' names 2" in status.text())
    assert bench.setup.draft.images[Role.IN_VIVO].info.axes == "cxy", "as it was read before"


def test_a_png_is_called_a_png_and_the_error_goes_with_the_next_file(
    user: User,
    bench: Workbench,
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = tmp_path / "figure.png"
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(picture)
    status = user.find(QLabel, "status_text")
    _choose(user, monkeypatch, "two_photon", picture)
    user.wait(lambda: "is a PNG image; NeuroBridge reads TIFF" in status.text())
    assert "truncated" not in status.text()
    _choose(user, monkeypatch, "two_photon", image_folder / "two_photon.tif")
    user.wait(lambda: Role.IN_VIVO in bench.setup.draft.images)
    assert status.text() == ""


def test_voxel_sizes_are_typed_in_full_sight_and_never_believed_blindly(
    user: User, bench: Workbench, silent_stack: Path, image_folder: Path
) -> None:
    bench.setup.set_axes(Role.IN_VIVO, "zyx")
    bench.setup.take_files([silent_stack, image_folder / "fmost.tif"])
    user.wait(lambda: len(bench.setup.draft.images) == 2)
    user.settle()
    form = user.window.findChild(VoxelSizeForm)
    status, use = user.find(QLabel, "status_text"), user.find(QPushButton, "voxel_size_button")
    assert user.sees(use), "the first line that is not done is open"
    user.click(use)
    assert "above 0 µm; that of two_photon is missing along z, y, x" in status.text()

    boxes = form.edits[Role.IN_VIVO].boxes
    for box, text in zip(boxes, ("1680", "0.1234567", "1,68"), strict=True):
        user.type(box.lineEdit(), text)
    assert [box.value() for box in boxes] == [1680.0, 0.1234567, 1.68]
    for box in form.findChildren(QDoubleSpinBox):
        assert _shows_all_digits(user, box), box.text()
    user.click(use)
    doubt = user.find(QLabel, "voxel_size_doubt")
    assert "1680 in nm, which is 1.68 µm?" in doubt.text()
    assert not user.find(QPushButton, "create_button").isEnabled()
    assert status.text() == "", "a size was taken, so that none is missing"
    user.click(user.find(QPushButton, "confirm_voxel_size_button"))
    assert user.find(QPushButton, "create_button").isEnabled()
    assert bench.setup.draft.images[Role.IN_VIVO].voxel_size_um == (1680.0, 0.1234567, 1.68)


def _shows_all_digits(user: User, box: QDoubleSpinBox) -> bool:
    line = box.lineEdit()
    # Qt keeps two pixels free on either side of the text.
    return (
        user.sees(box)
        and line.fontMetrics().horizontalAdvance(line.text()) <= line.contentsRect().width() - 4
    )
