"""A sheet of claimed pairs, for people to look at: the in-vivo crop above the ex-vivo one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from napari_neurobridge.benchmarks.effort_projects import EX_VIVO, IN_VIVO
from napari_neurobridge.insight.figures.style import save_figure
from napari_neurobridge.io.crops import CropSpec, extract_crops

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.benchmarks.effort_projects import KnownProject

_COLUMNS, _ROWS = 10, 3
_RING_UM = 9.0
_AGREES, _DISAGREES, _SILENT = "#2ca02c", "#d62728", "#999999"


def draw_contact_sheet(
    known: KnownProject, pairs: Sequence[tuple[str, str, float]], path: Path, *, title: str
) -> Path | None:
    """Draw up to 30 claimed pairs, spread evenly from the most to the least probable.

    The ring is green where a known pair agrees, red where it disagrees, and grey where
    nobody knows.

    Parameters
    ----------
    known : KnownProject
        With both images; their planes are taken to be turned alike.
    pairs : sequence of (str, str, float)
        In-vivo uid, ex-vivo uid, probability; the most probable first.
    path : Path
        PNG to write.
    title : str

    Returns
    -------
    Path or None
        Where it is; ``None`` without any pair.
    """
    if not pairs:
        return None
    places = np.linspace(0, len(pairs) - 1, min(len(pairs), _COLUMNS * _ROWS)).round()
    shown = [pairs[int(place)] for place in places]
    state, spec = known.project.state(), CropSpec()
    crops = [
        extract_crops(
            known.project.volume(name), [state.somata[name][uid].center_um for uid in uids]
        )
        for name, uids in (
            (IN_VIVO, [here for here, _, _ in shown]),
            (EX_VIVO, [there for _, there, _ in shown]),
        )
    ]
    figure = Figure(figsize=(1.3 * _COLUMNS, 2.9 * _ROWS), layout="constrained")
    figure.suptitle(f"{title}: {len(shown)} of {len(pairs)} claimed pairs")
    axes = np.atleast_2d(figure.subplots(2 * _ROWS, _COLUMNS))
    for ax in axes.flat:
        ax.axis("off")
    middle = (spec.pixels - 1) / 2
    for number, (here, there, probability) in enumerate(shown):
        row, column = divmod(number, _COLUMNS)
        expected = known.partner.get(here)
        color = _SILENT if expected is None else _AGREES if expected == there else _DISAGREES
        for side in (0, 1):
            ax = axes[2 * row + side, column]
            ax.imshow(crops[side][number], cmap="gray", vmin=0, vmax=1)
            radius = _RING_UM / spec.pixel_um
            ax.add_patch(Circle((middle, middle), radius, fill=False, edgecolor=color, lw=1.5))
        axes[2 * row, column].set_title(f"{probability:.2f}", fontsize=8)
    return save_figure(figure, path)
