"""Measure how long ``import napari_neurobridge`` takes in a fresh interpreter.

Prints the median over repeated starts, after one start that warms the disk cache, as a
row of the table in docs/benchmarks.md.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys

REPEATS = 15
CODE = (
    "import time; start = time.perf_counter(); import napari_neurobridge; "
    "print(time.perf_counter() - start)"
)


def import_seconds() -> float:
    """Return the seconds that one import takes, without the interpreter's own start."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print the median and the slowest of the repeated imports."""
    import_seconds()
    seconds = [import_seconds() for _ in range(REPEATS)]
    print(
        f"`import napari_neurobridge`: median {statistics.median(seconds) * 1e3:.1f} ms, "
        f"slowest {max(seconds) * 1e3:.1f} ms of {REPEATS} "
        f"(Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores)"
    )


if __name__ == "__main__":
    main()
