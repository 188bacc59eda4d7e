"""Importing is cheap: neither torch nor Qt is loaded before something needs them."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "PyQt5", "PyQt6", "PySide2", "PySide6", "magicgui", "matplotlib", "napari", "qtpy",
    "superqt", "timm", "torch", "torchvision",
}  # fmt: skip


def loaded_packages(code: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter holds after running ``code``."""
    report = "\nimport sys\nprint('\\nLOADED', *{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code + report],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return set(done.stdout.rpartition("LOADED")[2].split())


def test_package_needs_neither_torch_nor_qt():
    loaded = loaded_packages("import napari_neurobridge")
    assert "napari_neurobridge" in loaded
    assert not loaded & (HEAVY | {"numpy", "pydantic"})


@pytest.mark.parametrize("module", ["spaces", "errors", "types"])
def test_lowest_layers_need_neither_torch_nor_qt(module):
    assert not loaded_packages(f"import napari_neurobridge.{module}") & HEAVY


def test_docks_open_without_waiting_for_torch():
    loaded = loaded_packages(
        "import napari_neurobridge.widgets.data, napari_neurobridge.widgets.insight, "
        "napari_neurobridge.widgets.match, napari_neurobridge.widgets.register"
    )
    assert "napari" in loaded
    assert not loaded & {"torch", "timm", "matplotlib"}
