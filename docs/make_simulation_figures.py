"""Make the pictures and tables of ``simulation.md`` by running the simulator.

Run ``python docs/make_simulation_figures.py --real-data ../shared/data``: about two minutes on
two cores. Without ``--real-data`` the figures that compare with real data are left as they are.
``--private-out DIR``, a folder outside the repository, adds a comparison with data whose licence
forbids showing it on the page.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

import torch
from figures import between, cells, effects, examples, real, recordings, tables
from figures.style import apply_style

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images" / "simulation"
PAGE = DOCS / "simulation.md"

SIMULATED = (
    examples.draw_levels,
    examples.draw_regimes,
    effects.draw_effects,
    between.draw_between,
    between.draw_spectrum,
    recordings.draw_recording,
)
BESIDE_REAL = (real.draw_beside_real, cells.draw_cells)


def main() -> None:
    """Make all figures and tables, or those that are named."""
    arguments = _parse()
    apply_style()
    # The images are small: threads would rather wait for each other, the more so on a busy machine.
    torch.set_num_threads(1)
    wanted = set(arguments.only or ())
    for draw in SIMULATED:
        if not wanted or draw.__name__ in wanted:
            _timed(draw, IMAGES)
    if not wanted:
        tables.write_parameters(PAGE)
    if arguments.real_data is None:
        return
    for draw_beside in BESIDE_REAL:
        if not wanted or draw_beside.__name__ in wanted:
            _timed(draw_beside, IMAGES, arguments.real_data)
    if not wanted:
        tables.write_comparisons(PAGE, arguments.real_data)
    if arguments.private_out is not None:
        _timed(real.draw_beside_most, arguments.private_out, arguments.real_data)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [draw.__name__ for draw in (*SIMULATED, *BESIDE_REAL)]
    parser.add_argument("--only", nargs="+", choices=names, help="figures to make, and no table")
    parser.add_argument("--real-data", type=Path, help="folder of the third-party data")
    parser.add_argument("--private-out", type=Path, help="folder for figures not to be published")
    arguments = parser.parse_args()
    out = arguments.private_out
    if out is not None and out.resolve().is_relative_to(DOCS.parent):
        parser.error("--private-out must lie outside the repository.")
    return arguments


def _timed(draw: object, *folders: Path) -> None:
    """Draw a figure and say how long it took."""
    assert callable(draw)
    start = time.perf_counter()
    draw(*folders)
    logging.info("%s: %.0f s", getattr(draw, "__name__", draw), time.perf_counter() - start)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
