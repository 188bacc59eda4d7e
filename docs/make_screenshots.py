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
from pathlib import Path

IMAGES = Path(__file__).parent / "images"


def make_demo_screenshot() -> None:
    """Run the headless demo and keep its picture of the window."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "napari_neurobridge.cli", "demo", "--headless", "--json"]
        answer = subprocess.run(
            [*command, "--out", f"{folder}/demo"], check=True, stdout=subprocess.PIPE, text=True
        )
        IMAGES.mkdir(exist_ok=True)
        shutil.copyfile(json.loads(answer.stdout)["screenshot"], IMAGES / "demo.png")


if __name__ == "__main__":
    make_demo_screenshot()
