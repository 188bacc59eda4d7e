"""A thin plate spline about an affine map: fitted to weighted correspondences, and inverted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.interpolate import RBFInterpolator
from scipy.spatial.distance import cdist
from scipy.special import xlogy

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import Affine, as_points
from napari_neurobridge.spaces.inversion import INVERSE_TOLERANCE_UM, follow_back
from napari_neurobridge.spaces.weighted_fit import weighted_affine

if TYPE_CHECKING:
    from napari_neurobridge.spaces.correspondences import Correspondences
    from napari_neurobridge.types import FloatArray

Float64Array = npt.NDArray[np.float64]

_EXTENT = ("at one place", "on a line", "in a plane", "in a volume")
# The smoothest first: it is taken where two explain the matches alike.
_SMOOTHINGS = np.logspace(4, -7, 45)


@dataclass(frozen=True, eq=False)
class ThinPlate:
    """A thin plate spline about an affine map; a `Transform`.

    The displacement is a spline of the coordinates along ``axes`` alone: of two for controls in
    a plane, so that what lies off the plane is moved as the plane below it.

    Attributes
    ----------
    base : Affine
        What the spline bends.
    controls_um : ndarray, shape (N, 3)
        Different places of the source.
    displacement_um : ndarray, shape (N, 3)
        Where they go, from where ``base`` puts them.
    smoothing : ndarray, shape (N,)
        By how much each may be missed, relative to the spline's stiffness; 0 for not at all.
    axes : ndarray, shape (D, 3)
        Takes offsets in µm to the D coordinates, of about unit size, of the spline.

    Notes
    -----
    The kernel is r² log r in two and in three dimensions, as in BigWarp: unlike r, the one of
    least bending energy in space, it has a derivative at the controls.
    """

    base: Affine
    controls_um: Float64Array
    displacement_um: Float64Array
    smoothing: Float64Array
    axes: Float64Array

    def __post_init__(self) -> None:
        controls, displacement = as_points(self.controls_um), as_points(self.displacement_um)
        smoothing = np.asarray(self.smoothing, dtype=np.float64)
        axes = as_points(self.axes)
        if len(controls) != len(displacement) or smoothing.shape != (len(controls),):
            raise InputError("A thin plate needs one displacement and smoothing for each control.")
        if not (np.isfinite(smoothing).all() and (smoothing >= 0).all()):
            raise InputError("The smoothing of a thin plate must not be negative.")
        if not 1 <= len(axes) <= 3 or len(controls) < len(axes) + 1:
            raise InputError("A thin plate needs one to three axes and more controls than those.")
        for name, value in (
            ("controls_um", controls),
            ("displacement_um", displacement),
            ("smoothing", smoothing),
            ("axes", axes),
        ):
            object.__setattr__(self, name, value)

    @property
    def source(self) -> str:
        """Space that points come from."""
        return self.base.source

    @property
    def target(self) -> str:
        """Space that points go to."""
        return self.base.target

    @cached_property
    def _center(self) -> Float64Array:
        return np.asarray(self.controls_um.mean(axis=0))

    @cached_property
    def _spline(self) -> RBFInterpolator:
        try:
            return RBFInterpolator(
                self._coordinates(self.controls_um),
                self.displacement_um,
                kernel="thin_plate_spline",
                smoothing=self.smoothing,
                degree=1,
            )
        except np.linalg.LinAlgError:
            raise InputError(
                "The controls of a thin plate must lie at different places, not all on a line."
            ) from None

    def _coordinates(self, points: Float64Array) -> Float64Array:
        return (points - self._center) @ self.axes.T

    def map_points(self, points: npt.ArrayLike) -> Float64Array:
        """Map points of shape (N, 3), µm (z, y, x), from source to target."""
        here = as_points(points)
        if not len(here):
            return here
        return self.base.map_points(here) + self._spline(self._coordinates(here))

    def inverse(self) -> InverseThinPlate:
        """Return the map back."""
        return InverseThinPlate(self)


@dataclass(frozen=True, eq=False)
class InverseThinPlate:
    """A thin plate spline followed backwards; a `Transform`.

    Parameters
    ----------
    forward : ThinPlate
    tolerance_um : float
        By how much the place found, mapped forwards, may miss.
    """

    forward: ThinPlate
    tolerance_um: float = INVERSE_TOLERANCE_UM

    @property
    def source(self) -> str:
        """Space that points come from."""
        return self.forward.target

    @property
    def target(self) -> str:
        """Space that points go to."""
        return self.forward.source

    def map_points(self, points: npt.ArrayLike) -> Float64Array:
        """Map points of shape (N, 3), µm (z, y, x), from source to target.

        Raises
        ------
        NotInvertibleError
            If the spline folds there.
        """
        wanted = as_points(points)
        start = self.forward.base.inverse().map_points(wanted)
        hand = float(np.linalg.det(self.forward.base.linear))
        return follow_back(self.forward, wanted, start, hand=hand, tolerance_um=self.tolerance_um)

    def inverse(self) -> ThinPlate:
        """Return the map back."""
        return self.forward


def weighted_thin_plate(
    matches: Correspondences,
    *,
    orientation: FloatArray | None = None,
    smoothing: float | None = None,
) -> ThinPlate:
    """Fit a smoothing thin plate spline to weighted correspondences.

    Parameters
    ----------
    matches : Correspondences
        At least 5 in a volume, 4 in a plane, 3 on a line, at different places. Several matches
        of one place count as their weighted mean. The time grows with the cube of their number:
        a second or so for 1,500.
    orientation : ndarray, shape (3, 3), optional
        As in `weighted_affine`.
    smoothing : float, optional
        Of a match of weight 1, 0 to pass through all; what generalised cross-validation
        chooses if not given. A match of weight w has ``smoothing / w``.

    Returns
    -------
    ThinPlate
        From ``matches.source`` to ``matches.target``.

    Raises
    ------
    InputError
        If there are too few matches, all of them at one place, or they flatten space.

    References
    ----------
    Wahba, Spline Models for Observational Data (1990), sections 2.4 and 4.3 to 4.5.
    """
    if smoothing is not None and not (np.isfinite(smoothing) and smoothing >= 0):
        raise InputError(f"The smoothing of a thin plate must not be negative, not {smoothing}.")
    chosen = matches.merged()
    axes = chosen.axes
    fewest = max(len(axes), 1) + 2
    if len(chosen) < fewest:
        raise InputError(
            f"A thin plate of matches {_EXTENT[len(axes)]} needs {fewest} of them at different "
            f"places, but there are {len(chosen)}."
        )
    base = weighted_affine(matches, orientation=orientation)
    offsets = chosen.source_um - chosen.source_um.mean(axis=0)
    axes = axes / float(np.sqrt((offsets**2).sum(axis=1).mean()))
    displacement = chosen.target_um - base.map_points(chosen.source_um)
    if smoothing is None:
        smoothing = best_smoothing(offsets @ axes.T, displacement, chosen.weights)
    return ThinPlate(base, chosen.source_um, displacement, smoothing / chosen.weights, axes)


def best_smoothing(coordinates: FloatArray, values: FloatArray, weights: FloatArray) -> float:
    """Return the smoothing of a thin plate that generalised cross-validation chooses.

    Parameters
    ----------
    coordinates : ndarray, shape (N, D)
        Of about unit size.
    values : ndarray, shape (N, M)
    weights : ndarray, shape (N,)
        Above 0.

    Notes
    -----
    One eigendecomposition serves all smoothings: with Q the complement of the weighted linear
    polynomials, the residual is ``s Q V (Λ + s)⁻¹ Vᵀ Qᵀ y`` (Wahba 1990, equations 4.3.1 and
    4.5.1).
    """
    root = np.sqrt(np.asarray(weights, dtype=np.float64))
    distance = cdist(coordinates, coordinates)
    kernel = root[:, None] * xlogy(distance**2, distance) * root
    linear = root[:, None] * np.column_stack([np.ones(len(root)), coordinates])
    free = np.linalg.qr(linear, mode="complete")[0][:, linear.shape[1] :]
    sizes, vectors = np.linalg.eigh(free.T @ kernel @ free)
    sizes = np.maximum(sizes, 0.0)
    power = ((vectors.T @ free.T @ (root[:, None] * values)) ** 2).sum(axis=1)
    kept = _SMOOTHINGS[:, None] / (sizes + _SMOOTHINGS[:, None])
    scores = (kept**2 @ power) / kept.sum(axis=1) ** 2
    return float(_SMOOTHINGS[int(scores.argmin())])
