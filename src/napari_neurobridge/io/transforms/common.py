"""What the formats of maps have in common: what is written, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import Affine
from napari_neurobridge.spaces.chain import Chain
from napari_neurobridge.spaces.displacement_grid import (
    MOST_NODES,
    TOLERANCE_UM,
    DisplacementGrid,
    as_affine,
    sample_on_grid,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.types import Report

ReadTransform: TypeAlias = Affine | DisplacementGrid | Chain
"""What a file is read as."""

# As for landmarks: beyond a factor of 30 between two sides, one of them is not in µm.
_LARGEST_SCALE = 30.0
_SMALLEST_BOX_UM = 2.0


@dataclass(frozen=True)
class GridSettings:
    """How a map that is no affine is laid on a grid; see `sample_on_grid`.

    Attributes
    ----------
    tolerance_um : float
    step_um : float or None
    most_nodes : int
    """

    tolerance_um: float = TOLERANCE_UM
    step_um: float | None = None
    most_nodes: int = MOST_NODES


@dataclass(frozen=True)
class TransformFile:
    """A map that was written for another program.

    Attributes
    ----------
    path : Path
    format : str
        "ngff", "itk" or "bigwarp".
    version : str
        Of the format; empty where it has none.
    source, target : str
        Names of the spaces: points of the first go to the second.
    kind : str
        "affine", or "displacements" on a grid and then an affine, or "landmarks".
    step_um : tuple of float or None
        Distance of the grid's nodes, µm (z, y, x) of the source.
    error_um : float or None
        Largest distance from the map between the nodes, as measured; 0 for an affine, None for
        landmarks.
    """

    path: Path
    format: str
    version: str
    source: str
    target: str
    kind: str
    step_um: tuple[float, ...] | None
    error_um: float | None

    @classmethod
    def of(
        cls, path: Path, file_format: str, version: str, written: Affine | DisplacementGrid
    ) -> TransformFile:
        """Describe what was written."""
        spaces = written.source, written.target
        if isinstance(written, Affine):
            return cls(path, file_format, version, *spaces, "affine", None, 0.0)
        step = tuple(written.step_um.tolist())
        return cls(path, file_format, version, *spaces, "displacements", step, written.error_um)


def as_affine_or_grid(
    transform: Transform,
    corners_um: npt.ArrayLike,
    settings: GridSettings,
    report: Report | None = None,
) -> Affine | DisplacementGrid:
    """Return a map as what the formats hold: an affine where it is one, else a grid.

    Parameters
    ----------
    transform : Transform
    corners_um : array_like, shape (2, 3)
        Box in which it is to hold, µm (z, y, x) of its source.
    settings : GridSettings
    report : Report, optional
    """
    if isinstance(transform, DisplacementGrid):
        return transform
    return as_affine(transform, corners_um) or sample_on_grid(
        transform,
        corners_um,
        tolerance_um=settings.tolerance_um,
        step_um=settings.step_um,
        most_nodes=settings.most_nodes,
        report=report,
    )


@dataclass(frozen=True, eq=False)
class SampledField:
    """Displacements as they were read; see `DisplacementGrid`.

    Attributes
    ----------
    displacement : ndarray, shape (Z, Y, X, 3)
    origin, step : ndarray, shape (3,)
    """

    displacement: npt.NDArray[np.float64]
    origin: npt.NDArray[np.float64]
    step: npt.NDArray[np.float64]

    def after(self, affine: Affine) -> DisplacementGrid:
        """Return the displacements with an affine that follows them."""
        return DisplacementGrid(self.displacement, self.origin, self.step, affine)


ReadStep: TypeAlias = npt.NDArray[np.float64] | SampledField
"""A homogeneous (4, 4) matrix, or displacements."""


def joined(steps: Sequence[ReadStep], source: str, target: str) -> ReadTransform:
    """Return the steps of a file as one map.

    Parameters
    ----------
    steps : sequence of ReadStep
        The first is applied first; they take and give (z, y, x).
    source, target : str
        Names of the spaces.
    """
    merged: list[ReadStep] = [np.eye(4)]
    for step in steps:
        last = merged[-1]
        if isinstance(step, np.ndarray) and isinstance(last, np.ndarray):
            merged[-1] = step @ last
        else:
            merged.append(step)
    first = merged[0]
    if len(merged) == 1 and isinstance(first, np.ndarray):
        return Affine(first, source, target)
    if isinstance(first, np.ndarray) and np.array_equal(first, np.eye(4)):
        merged = merged[1:]
    made: list[Affine | DisplacementGrid] = []
    while merged:
        step = merged.pop(0)
        start = made[-1].target if made else source
        if isinstance(step, SampledField):
            follows = merged.pop(0) if merged and isinstance(merged[0], np.ndarray) else np.eye(4)
            assert isinstance(follows, np.ndarray)
            end = f"{source} {len(made) + 1}" if merged else target
            made.append(step.after(Affine(follows, start, end)))
        else:
            made.append(Affine(step, start, f"{source} {len(made) + 1}"))
    return made[0] if len(made) == 1 else Chain(tuple(made))


def require_um(transform: ReadTransform, path: Path) -> None:
    """Refuse a map that evidently is not from µm to µm.

    Raises
    ------
    InputError
        If lengths change more than 30-fold, or a grid is smaller than 2 µm along each axis.
    """
    scale = _scale_of(transform)
    if not 1 / _LARGEST_SCALE < scale < _LARGEST_SCALE:
        larger, smaller = ("mm", "µm") if scale < 1 else ("µm", "mm")
        raise InputError(
            f"{path} makes lengths {max(scale, 1 / scale):.4g} times "
            f"{'shorter' if scale < 1 else 'longer'}: points probably go in as {smaller} and come "
            f"out as {larger}, and both sides have to be in µm."
        )
    if isinstance(transform, DisplacementGrid):
        extent = transform.corners_um[1] - transform.corners_um[0]
        if extent.max() < _SMALLEST_BOX_UM:
            raise InputError(
                f"{path} holds a grid of {' x '.join(f'{e:.3g}' for e in extent)} µm, less than a "
                "cell: it is probably in mm, and has to be in µm."
            )


def _scale_of(transform: Transform) -> float:
    """Return by how much a map's affine parts change lengths."""
    if isinstance(transform, Chain):
        return float(np.prod([_scale_of(step) for step in transform.steps]))
    affine = transform.affine if isinstance(transform, DisplacementGrid) else transform
    assert isinstance(affine, Affine)
    return float(np.abs(np.linalg.det(affine.linear)) ** (1 / 3))


def require_finite(values: npt.ArrayLike, path: Path) -> None:
    """Refuse a map with NaN or infinite numbers.

    Raises
    ------
    InputError
        If there are any.
    """
    if not np.isfinite(np.asarray(values, dtype=np.float64)).all():
        raise InputError(f"{path} holds NaN or infinite numbers and maps no point.")
