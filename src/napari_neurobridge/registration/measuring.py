"""Measuring the evidence for a registration of two planes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.image_matches import lifted
from napari_neurobridge.registration.plane_grid import lies_on
from napari_neurobridge.registration.quality import Evidence
from napari_neurobridge.spaces.folding import volume_change

if TYPE_CHECKING:
    from napari_neurobridge.registration.image_matches import ImageMatches
    from napari_neurobridge.registration.keypoints import PlanarImage
    from napari_neurobridge.registration.plane_fit import PlaneFit
    from napari_neurobridge.spaces.choose_fit import FittedMap

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IndexArray = npt.NDArray[np.intp]


class CoverageGrid:
    """Cells of about one size that tile a plane.

    Parameters
    ----------
    plane : PlanarImage
    cell_um : float
        About their side; a plane that is smaller is one cell.

    Attributes
    ----------
    shape : tuple of int
        Cells along y and x.
    sides_um : ndarray, shape (2,)
        Of a cell.
    """

    def __init__(self, plane: PlanarImage, cell_um: float) -> None:
        size = np.array(plane.size_um)
        counts = np.maximum(np.round(size / cell_um), 1).astype(int)
        self.shape = (int(counts[0]), int(counts[1]))
        self.sides_um: Float64Array = size / counts
        self._first = -plane.pixel_um / 2

    @property
    def centers_um(self) -> Float64Array:
        """Middles of all cells, row by row, (cells, 2) µm (y, x)."""
        index = np.stack(np.meshgrid(*map(np.arange, self.shape), indexing="ij"), axis=-1)
        return np.asarray(self._first + (index.reshape(-1, 2) + 0.5) * self.sides_um)

    def counts(self, points_um: Float64Array) -> IndexArray:
        """Return how many points lie in each cell, of the grid's shape."""
        index = np.floor((points_um - self._first) / self.sides_um).astype(int)
        index = np.clip(index, 0, np.array(self.shape) - 1)
        flat = np.ravel_multi_index((index[:, 0], index[:, 1]), self.shape)
        return np.bincount(flat, minlength=self.shape[0] * self.shape[1]).reshape(self.shape)


def cells_within(grid: CoverageGrid, transform: FittedMap, target: PlanarImage) -> BoolArray:
    """Return which cells have a middle that a map puts into the target, of the grid's shape."""
    mapped = transform.map_points(lifted(grid.centers_um))[:, 1:]
    return lies_on(target, mapped).reshape(grid.shape)


def measure(
    matches: ImageMatches,
    fitted: PlaneFit | None,
    source: PlanarImage,
    target: PlanarImage,
    *,
    cell_um: float,
) -> Evidence:
    """Return the evidence for a map, but for what other poses say.

    Parameters
    ----------
    matches : ImageMatches
    fitted : PlaneFit or None
        Of these matches.
    source, target : PlanarImage
        Of which only the sizes count.
    cell_um : float
        Side of a cell of the coverage.
    """
    known: dict[str, Any] = {
        "n_source": matches.n_source,
        "n_target": matches.n_target,
        "n_initial": len(matches),
        "n_verified": int(matches.verified.sum()),
        "n_agreeing": 0,
        "inlier_ratio": matches.inlier_ratio,
    }
    if fitted is None:
        return Evidence(**known)
    places = matches.source_um[fitted.agreeing]
    known |= {
        "n_agreeing": fitted.n_agreeing,
        "kind": str(fitted.choice.kind),
        "turned_over": fitted.choice.turned_over,
        "spread": _spread(places),
        **_residuals(fitted.residuals_um),
        **_linear_part(fitted),
        **_local_change(fitted.transform, places),
    }
    grid = CoverageGrid(source, cell_um)
    inside = cells_within(grid, fitted.transform, target)
    held = grid.counts(places)[inside] > 0
    known |= {
        "overlap": float(inside.mean()),
        "coverage": float(held.mean()) if inside.any() else 0.0,
        "coverage_cell_um": float(grid.sides_um.mean()),
    }
    return Evidence(**known)


def _spread(places: Float64Array) -> float:
    extents = np.linalg.svd(places - places.mean(axis=0), compute_uv=False)
    return float(extents[1] / extents[0]) if extents[0] > 0 else 0.0


def _residuals(residuals: Float64Array) -> dict[str, float]:
    if not len(residuals):
        return {}
    return {
        "residual_median_um": float(np.median(residuals)),
        "residual_mean_um": float(residuals.mean()),
        "residual_p90_um": float(np.percentile(residuals, 90)),
    }


def _linear_part(fitted: PlaneFit) -> dict[str, float]:
    sizes = np.linalg.svd(fitted.affine.linear[1:, 1:], compute_uv=False)
    return {
        "scale": float(np.sqrt(np.prod(sizes))),
        "stretch": float(sizes[0] / sizes[1]),
        "angle_deg": fitted.angle_deg,
    }


def _local_change(transform: FittedMap, places: Float64Array) -> dict[str, Any]:
    corners = lifted(np.stack([places.min(axis=0), places.max(axis=0)]))
    try:
        factor = volume_change(transform, corners[0], corners[1]).factor
    except InputError:
        return {"folded": True}
    if (factor <= 0).any():
        return {"folded": True}
    return {"area_change": float(np.exp(np.abs(np.log(factor)).max()))}
