"""torch loads beside a canvas that Mesa draws."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import napari
from qtpy.QtWidgets import QApplication
from napari_neurobridge.workbench.native import keep_triton_away_from_mesa

viewer = napari.Viewer(show=True)
for _ in range(20):
    QApplication.processEvents()
keep_triton_away_from_mesa()
import timm, torch._dynamo
print("loaded")
viewer.close()
"""


def test_torch_loads_after_a_canvas_was_drawn() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120, check=False
    )
    assert "loaded" in done.stdout, f"exit code {done.returncode}: {done.stderr[-500:]}"
