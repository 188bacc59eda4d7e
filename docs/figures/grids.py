"""Grids that show where tissue goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures.style import ORANGE, SKY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from figures.block import Region
    from napari_neurobridge.simulation.deformation.warp import Warp

_POINTS = 400
_BREAK_UM = 2.0


def draw_grid(
    ax: Axes, warp: Warp, region: Region, *, exaggeration: float = 1.0, lines: int = 6
) -> None:
    """Draw a square grid in the tissue, thin and blue, and where it goes, orange.

    Parameters
    ----------
    ax : Axes
        Shows the region.
    warp : Warp
        From tissue to the space of the image.
    region : Region
        The grid lies in its middle plane.
    exaggeration : float
        How much larger than they are shifts are drawn.
    lines : int
        How many along either axis.
    """
    low, size = np.array(region.low_um), np.array(region.size_um)
    first, second = (axis for axis in range(3) if axis != region.along)
    step = min(size[first], size[second]) / lines
    for fixed, running in ((first, second), (second, first)):
        for offset in np.arange(step / 2, size[fixed], step):
            line = np.tile(low + size / 2, (_POINTS, 1))
            line[:, fixed] = low[fixed] + offset
            line[:, running] = low[running] + np.linspace(-0.3, 1.3, _POINTS) * size[running]
            shift = exaggeration * (warp.map_points(line) - line)
            moved = line + shift
            # A line that crosses a tear is broken there.
            moved[1:][np.linalg.norm(np.diff(shift, axis=0), axis=1) > _BREAK_UM] = np.nan
            for places, colour, width in ((line, SKY, 0.5), (moved, ORANGE, 1.0)):
                ax.plot(
                    places[:, second] - low[second],
                    places[:, first] - low[first],
                    color=colour,
                    lw=width,
                )
