"""Time and memory that one simulated scene takes, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, Field

from napari_neurobridge.errors import InputError, NeuroBridgeError
from napari_neurobridge.simulation.scene_files import simulate_scene

if TYPE_CHECKING:
    from napari_neurobridge.types import Vec3

_KILOBYTE = 1024
_GB = 1e9


class SceneCost(BaseModel, frozen=True):
    """What a scene took."""

    seconds: float = Field(description="From the first cell to the last file, without imports.")
    peak_memory_gb: float | None = Field(
        description="Most memory that the process held, 1e9 bytes; None on Windows."
    )


def measure_scene(size_um: Vec3, *, seed: int, level: str, threads: int) -> SceneCost:
    """Simulate a scene in a child process and say what it took.

    Parameters
    ----------
    size_um : Vec3
        Size of the two-photon volume.
    seed : int
        Of the scene.
    level : str
        Difficulty.
    threads : int
        Threads that the child may compute with.

    Raises
    ------
    InputError
        If the size makes no sense.
    NeuroBridgeError
        If the child fails otherwise.
    """
    request = json.dumps({"size_um": size_um, "seed": seed, "level": level, "threads": threads})
    with TemporaryDirectory(prefix="neurobridge-benchmark-") as folder:
        child = subprocess.run(
            [sys.executable, "-X", "utf8", "-m", __name__, folder, request],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
    if child.returncode:
        last = child.stderr.strip().rpartition("\n")[2]
        if child.returncode == InputError.exit_code:
            raise InputError(last)
        raise NeuroBridgeError(f"The scene could not be simulated: {last}")
    return SceneCost.model_validate_json(child.stdout)


def peak_memory_gb() -> float | None:
    """Return the most memory that this process has held, 1e9 bytes; None on Windows."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not from getrusage, which counts what the parent held when it made this process.
        lines = status.read_text(encoding="utf-8").splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(peak) * _KILOBYTE / _GB
    if sys.platform == "win32":
        return None
    import resource

    peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_rss * (1 if sys.platform == "darwin" else _KILOBYTE) / _GB


def _measure_here(folder: Path, request: str) -> SceneCost:
    wanted = json.loads(request)
    torch.set_num_threads(wanted["threads"])
    began = time.monotonic()
    simulate_scene(
        folder, seed=wanted["seed"], size_um=tuple(wanted["size_um"]), level=wanted["level"]
    )
    return SceneCost(seconds=time.monotonic() - began, peak_memory_gb=peak_memory_gb())


if __name__ == "__main__":
    try:
        cost = _measure_here(Path(sys.argv[1]), sys.argv[2])
    except InputError as error:
        sys.stderr.write(str(error))
        sys.exit(error.exit_code)
    sys.stdout.write(cost.model_dump_json())
