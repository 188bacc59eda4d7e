"""The simplest map that held-out correspondences justify."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import Affine
from napari_neurobridge.spaces.folding import require_no_folding
from napari_neurobridge.spaces.thin_plate import ThinPlate, weighted_thin_plate
from napari_neurobridge.spaces.weighted_fit import (
    turned_over,
    weighted_affine,
    weighted_similarity,
)

if TYPE_CHECKING:
    from napari_neurobridge.spaces.correspondences import Correspondences
    from napari_neurobridge.types import FloatArray

Float64Array = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]
FittedMap: TypeAlias = Affine | ThinPlate

# Each fold is several blocks, so that most held-out blocks lie among others.
_BLOCKS_PER_FOLD = 4
_FEWEST = 4
# A gain below this is one of rounding, as between maps that are all exact.
_LEAST_GAIN_UM = 1e-6


class FitKind(StrEnum):
    """Kinds of maps, the simplest first."""

    SIMILARITY = "similarity"
    AFFINE = "affine"
    THIN_PLATE = "thin plate"


@dataclass(frozen=True, eq=False)
class HeldOut:
    """How a kind of map does on matches that it was not fitted to.

    Attributes
    ----------
    kind : FitKind
    residuals_um : ndarray, shape (N,)
        Distance of each match's target from where the map, fitted without the match's block
        and all others of its fold, puts it; NaN for matches that take no part.
    mean_um : float
        Their weighted mean.
    gain_um : float
        By how much that is lower than the mean of the map that it was compared with; 0 for the
        simplest.
    gain_error_um : float
        Standard error of the gain, from the blocks' paired differences.
    """

    kind: FitKind
    residuals_um: Float64Array
    mean_um: float
    gain_um: float = 0.0
    gain_error_um: float = 0.0


@dataclass(frozen=True, eq=False)
class FitChoice:
    """The simplest map that held-out matches justify, and what all of them did.

    Attributes
    ----------
    transform : Affine or ThinPlate
        Fitted to all matches.
    kind : FitKind
    held_out : tuple of HeldOut
        Of each kind that could be fitted, the simplest first; empty for fewer than 4 matches, or
        few that extend less far without some of them.
    blocks : ndarray of int, shape (N,)
        Of each match, -1 for those that take no part.
    turned_over : bool
        Whether matches in one plane show it from the other side than the orientation says:
        the image is mirrored, or the matches are wrong.
    notes : tuple of str
        What a person should know of the choice, in sentences.
    """

    transform: FittedMap
    kind: FitKind
    held_out: tuple[HeldOut, ...]
    blocks: IndexArray
    turned_over: bool
    notes: tuple[str, ...]


def choose_fit(
    matches: Correspondences, *, orientation: FloatArray | None = None, folds: int = 5
) -> FitChoice:
    """Fit the simplest of similarity, affine and thin plate that held-out matches justify.

    A more complex map is taken only if its held-out error is lower by more than the standard
    error of the difference. Whole blocks of neighbours are held out, since the neighbour of a
    held-out match would tell where that lies.

    Parameters
    ----------
    matches : Correspondences
        One or more with a weight above 0.
    orientation : ndarray, shape (3, 3), optional
        As in `weighted_affine`.
    folds : int
        At least 2.

    Returns
    -------
    FitChoice

    Raises
    ------
    InputError
        If no match has a weight, or there are fewer than two folds.

    References
    ----------
    Roberts et al., Ecography 40:913 (2017), for the blocks; Hastie, Tibshirani and Friedman,
    The Elements of Statistical Learning (2009), section 7.10, for the standard error.
    """
    if folds < 2:
        raise InputError(f"Cross-validation needs at least two folds, not {folds}.")
    rows = matches.used()
    chosen = matches.take(rows)
    blocks = np.full(len(matches), -1, dtype=np.intp)
    if len(chosen) < _FEWEST:
        why = f"Fewer than {_FEWEST} matches"
        return _only_similarity(matches, blocks, orientation, why)
    blocks[rows] = own = spatial_blocks(chosen.source_um, folds * _BLOCKS_PER_FOLD)
    held: dict[FitKind, Float64Array] = {}
    notes: list[str] = []
    for kind in FitKind:
        try:
            held[kind] = _held_out(kind, chosen, own, folds, orientation)
        except InputError as error:
            notes.append(f"No {kind} was weighed: {error}")
    if not held:
        why = "Without one fold, the other matches do not extend as far"
        return _only_similarity(matches, blocks, orientation, why)
    kind, measures = _simplest(held, own, chosen.weights)
    transform = fit_kind(kind, matches, orientation=orientation)
    if isinstance(transform, ThinPlate):
        kind, transform, note = _unless_folded(transform, matches, measures, orientation)
        notes += note
    full = [_spread_out(measure, rows, len(matches)) for measure in measures]
    base = transform.base if isinstance(transform, ThinPlate) else transform
    over = turned_over(base, matches, orientation=orientation)
    return FitChoice(transform, kind, tuple(full), blocks, over, tuple(notes))


def fit_kind(
    kind: FitKind, matches: Correspondences, *, orientation: FloatArray | None = None
) -> FittedMap:
    """Fit one kind of map to weighted correspondences; see the functions for each."""
    if kind is FitKind.SIMILARITY:
        return weighted_similarity(matches, orientation=orientation)
    if kind is FitKind.AFFINE:
        return weighted_affine(matches, orientation=orientation)
    return weighted_thin_plate(matches, orientation=orientation)


def spatial_blocks(points_um: FloatArray, count: int) -> IndexArray:
    """Cut points into compact blocks of similar numbers, (N,).

    Each block is cut along its longest side, the fullest first, at the widest gap in the middle
    third of its points, so that clumps stay together. Blocks with consecutive numbers are
    neighbours.

    Parameters
    ----------
    points_um : ndarray, shape (N, 3)
    count : int
        As many blocks, or one for each point where there are fewer.
    """
    parts = [np.arange(len(points_um))]
    while len(parts) < min(count, len(points_um)):
        fullest = int(np.argmax([len(part) for part in parts]))
        part = parts[fullest]
        axis = int(np.ptp(points_um[part], axis=0).argmax())
        order = part[np.argsort(points_um[part, axis], kind="stable")]
        first = max(len(order) // 3, 1)
        gaps = np.diff(points_um[order, axis])[first - 1 : len(order) - first]
        cut = first + int(gaps.argmax())
        parts[fullest : fullest + 1] = [order[:cut], order[cut:]]
    blocks = np.empty(len(points_um), dtype=np.intp)
    for number, part in enumerate(parts):
        blocks[part] = number
    return blocks


def _held_out(
    kind: FitKind,
    matches: Correspondences,
    blocks: IndexArray,
    folds: int,
    orientation: FloatArray | None,
) -> Float64Array:
    """Return the residual of each match under a map fitted without its fold, (N,) µm."""
    residuals = np.empty(len(matches))
    for fold in range(min(folds, int(blocks.max()) + 1)):
        # Neighbouring blocks have consecutive numbers, and so lie in different folds.
        out = blocks % folds == fold
        kept = matches.take(~out)
        if len(kept.axes) < len(matches.axes):
            raise InputError("without one fold, the other matches do not extend as far.")
        mapped = fit_kind(kind, kept, orientation=orientation).map_points(matches.source_um[out])
        residuals[out] = np.linalg.norm(mapped - matches.target_um[out], axis=1)
    return residuals


def _simplest(
    held: dict[FitKind, Float64Array], blocks: IndexArray, weights: Float64Array
) -> tuple[FitKind, list[HeldOut]]:
    """Return the simplest kind that none betters by more than the standard error."""
    measures: list[HeldOut] = []
    best = next(iter(held))
    share = np.bincount(blocks, weights=weights)
    for kind, residuals in held.items():
        mean = float(np.average(residuals, weights=weights))
        if not measures:
            measures.append(HeldOut(kind, residuals, mean))
            continue
        gains = np.bincount(blocks, weights=weights * (held[best] - residuals)) / share
        gain = float(np.average(gains, weights=share))
        variance = np.average((gains - gain) ** 2, weights=share)
        effective = share.sum() ** 2 / (share**2).sum()
        error = float(np.sqrt(variance / max(effective - 1, 1)))
        measures.append(HeldOut(kind, residuals, mean, gain, error))
        if gain > max(error, _LEAST_GAIN_UM):
            best = kind
    return best, measures


def _unless_folded(
    plate: ThinPlate,
    matches: Correspondences,
    measures: list[HeldOut],
    orientation: FloatArray | None,
) -> tuple[FitKind, FittedMap, list[str]]:
    """Return the thin plate, or the better simpler map where it folds among the matches."""
    places = plate.controls_um
    try:
        require_no_folding(plate, places.min(axis=0), places.max(axis=0))
    except InputError as error:
        simpler = [measure for measure in measures if measure.kind is not FitKind.THIN_PLATE]
        kind = min(simpler, key=lambda measure: measure.mean_um).kind
        note = f"The thin plate was not taken. {error}"
        return kind, fit_kind(kind, matches, orientation=orientation), [note]
    return FitKind.THIN_PLATE, plate, []


def _only_similarity(
    matches: Correspondences, blocks: IndexArray, orientation: FloatArray | None, why: str
) -> FitChoice:
    transform = weighted_similarity(matches, orientation=orientation)
    over = turned_over(transform, matches, orientation=orientation)
    note = f"{why}: only a similarity was fitted, and nothing tests it."
    return FitChoice(transform, FitKind.SIMILARITY, (), blocks, over, (note,))


def _spread_out(measure: HeldOut, rows: IndexArray, count: int) -> HeldOut:
    """Return a measure with residuals of all matches, NaN for those that take no part."""
    residuals = np.full(count, np.nan)
    residuals[rows] = measure.residuals_um
    return HeldOut(measure.kind, residuals, measure.mean_um, measure.gain_um, measure.gain_error_um)
