"""Two registered planes: laid on each other, and what the map between them rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.figures.style import (
    LIGHT,
    Theme,
    new_figure,
    several,
    show_legend,
    write_title,
)
from napari_neurobridge.io.grey import brightness

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_neurobridge.types import Float32Array

_BINS = 30


def magenta_green(first: npt.ArrayLike, second: npt.ArrayLike) -> Float32Array:
    """Lay one plane in magenta on another in green; what both show is white.

    Parameters
    ----------
    first, second : array_like, shape (H, W)
        Grey in [0, 1].

    Returns
    -------
    ndarray of float32, shape (H, W, 3)

    Raises
    ------
    InputError
        If their shapes differ.
    """
    one, other = _as_bright(first, second)
    return np.stack([one, other, one], axis=-1)


def checkerboard(first: npt.ArrayLike, second: npt.ArrayLike, side: int) -> Float32Array:
    """Show two planes in turn, in squares: what is continuous across their borders agrees.

    Parameters
    ----------
    first, second : array_like, shape (H, W)
        Grey in [0, 1].
    side : int
        Of a square, pixels.

    Returns
    -------
    ndarray of float32, shape (H, W, 3)
        The first in shades of magenta, the second in shades of green.

    Raises
    ------
    InputError
        If their shapes differ, or a square has no side.
    """
    one, other = _as_bright(first, second)
    if side < 1:
        raise InputError(f"The squares of a checkerboard need a side of 1 or more, not {side}.")
    rows, columns = (np.arange(length) // side for length in one.shape)
    odd = (rows[:, None] + columns) % 2 == 1
    # Light tints: full colours would hide how well the grey values go on.
    shades = np.array([[1.0, 0.75, 1.0], [0.75, 1.0, 0.75]], dtype=np.float32)
    return np.where(odd, other, one)[..., None] * shades[odd.astype(int)]


def _as_bright(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Float32Array, Float32Array]:
    one, other = brightness(first), brightness(second)
    if one.ndim != 2 or one.shape != other.shape:
        raise InputError(f"Planes of {one.shape} and {other.shape} cannot be laid on each other.")
    return one, other


def residual_histogram(residuals_um: npt.ArrayLike, *, theme: Theme = LIGHT) -> Figure:
    """Draw how far off matches lie that a map was not fitted to.

    Parameters
    ----------
    residuals_um : array_like, shape (N,)
    theme : Theme

    Returns
    -------
    Figure
        Lines mark the median and the 90th percentile.

    Raises
    ------
    InputError
        If there is no residual.
    """
    residuals = np.asarray(residuals_um, dtype=float)
    if not residuals.size:
        raise InputError("There are no residuals to draw.")
    figure, (ax,) = new_figure(theme, height_in=3.0)
    ax.hist(residuals, bins=_BINS, color=theme.same)
    for share, dashes in ((50, "-"), (90, "--")):
        value = float(np.percentile(residuals, share))
        words = "median" if share == 50 else f"{share} % are below"
        ax.axvline(value, color=theme.ink, linestyle=dashes, label=f"{words} {value:.1f} µm")
    ax.set(xlabel="distance from where the map puts it (µm)", ylabel="matches")
    show_legend(ax, theme)
    write_title(figure, theme, f"{several(residuals.size, 'match')}, each left out of the fit")
    return figure


@dataclass(frozen=True, eq=False)
class CoverageCells:
    """Cells of a plane, and the matches in them.

    Attributes
    ----------
    counts : ndarray of int, shape (rows, columns)
        Agreeing matches in each cell.
    inside : ndarray of bool, shape (rows, columns)
        Which cells the map puts into the other plane.
    """

    counts: npt.NDArray[np.intp]
    inside: npt.NDArray[np.bool_]

    @property
    def share(self) -> float:
        """Part of the cells inside that hold a match; 0 if there are none."""
        held = self.counts[self.inside] > 0
        return float(held.mean()) if held.size else 0.0


def coverage_figure(
    pixels: npt.ArrayLike,
    size_um: tuple[float, float],
    cells: CoverageCells,
    agreeing_um: npt.ArrayLike,
    others_um: npt.ArrayLike,
    *,
    theme: Theme = LIGHT,
) -> Figure:
    """Draw matches on a plane, and where there are none.

    Parameters
    ----------
    pixels : array_like, shape (H, W)
        Grey in [0, 1].
    size_um : tuple of float
        Of the plane along y and x.
    cells : CoverageCells
    agreeing_um, others_um : array_like, shape (N, 2)
        Matches that agree with the map, and verified ones that do not, µm (y, x).
    theme : Theme

    Returns
    -------
    Figure
        Cells without a match are hatched, cells outside of the other plane are dark.
    """
    shown = brightness(pixels)
    height, width = size_um
    figure, (ax,) = new_figure(theme, height_in=5.6)
    # What lies between the outer edges, so that a place in µm is where it is drawn.
    box = (0.0, width, height, 0.0)
    ax.imshow(shown, cmap="gray", vmin=0, vmax=1, extent=box)
    rows, columns = cells.counts.shape
    for (row, column), count in np.ndenumerate(cells.counts):
        if count and cells.inside[row, column]:
            continue
        outside = not cells.inside[row, column]
        ax.axhspan(
            row * height / rows,
            (row + 1) * height / rows,
            column / columns,
            (column + 1) / columns,
            facecolor="black" if outside else "none",
            alpha=0.6 if outside else 1.0,
            edgecolor=theme.faint,
            hatch=None if outside else "//",
            linewidth=0,
        )
    for places, color, marker, label in (
        (agreeing_um, theme.lines[5], "o", "agree with the map"),
        (others_um, theme.lines[3], "x", "verified, but do not"),
    ):
        where = np.asarray(places, dtype=float).reshape(-1, 2)
        name = f"{several(len(where), 'match')}: {label}"
        ax.scatter(where[:, 1], where[:, 0], s=12, c=color, marker=marker, label=name)
    ax.set(xlabel="x (µm)", ylabel="y (µm)", xlim=(0, width), ylim=(height, 0))
    figure.legend(loc="outside lower center", frameon=False, labelcolor=theme.ink, ncols=2)
    write_title(figure, theme, f"{cells.share:.0%} of the overlap hold a match")
    return figure
