"""A simulated project made by the same commands that a user would type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_neurobridge.workbench.workbench import Workbench

SAMPLE_SEED = 7
SAMPLE_SIZE_UM = (100.0, 300.0, 300.0)
"""Small enough for a laptop to simulate, detect and index in under a minute."""


@dataclass(frozen=True)
class SampleFiles:
    """Where a simulated sample lies."""

    folder: Path

    @property
    def scene(self) -> Path:
        """Folder of the simulated images."""
        return self.folder / "scene"

    @property
    def truth(self) -> Path:
        """Table of the true pairs."""
        return self.scene / "truth.csv"

    @property
    def project(self) -> Path:
        """The project folder."""
        return self.folder / "simulated.neurobridge"


def simulate_command(files: SampleFiles) -> list[str]:
    """Return the command that simulates the sample's images."""
    size = [str(length) for length in SAMPLE_SIZE_UM]
    return ["simulate", str(files.scene), "--seed", str(SAMPLE_SEED), "--size-um", *size]


def init_command(files: SampleFiles) -> list[str]:
    """Return the command that makes a project of them."""
    return [
        "init",
        str(files.project),
        "--two-photon",
        str(files.scene / "two_photon.ome.tif"),
        "--fmost",
        str(files.scene / "fmost.ome.zarr"),
        "--orientation",
        str(files.scene / "orientation.json"),
    ]


def open_sample(
    workbench: Workbench, folder: Path, *, on_ready: Callable[[], None] = lambda: None
) -> None:
    """Simulate a sample, open it, detect its somata and index them, job by job.

    Parameters
    ----------
    workbench : Workbench
        Shows the progress of each job; Cancel stops the chain.
    folder : Path
        Empty folder for images and project.
    on_ready : callable, optional
        Called when cells can be ranked.
    """
    files = SampleFiles(folder)
    project = str(files.project)

    steps: list[tuple[str, list[str], Callable[[], None]]] = [
        ("simulate", simulate_command(files), lambda: None),
        ("init", init_command(files), lambda: workbench.setup.open_project(files.project)),
        ("detect", ["detect", project], workbench.setup.refresh),
        ("index", ["index", project], workbench.setup.refresh),
    ]

    def run(position: int) -> None:
        if position == len(steps):
            on_ready()
            return
        name, arguments, then = steps[position]

        def finished(_: object) -> None:
            then()
            run(position + 1)

        # Somebody may have started the same job by hand meanwhile.
        workbench.session.attempt(
            lambda: workbench.session.jobs.start(name, arguments, finished, in_turn=True)
        )

    run(0)
