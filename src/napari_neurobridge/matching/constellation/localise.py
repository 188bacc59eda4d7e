"""A two-photon plane or stack found in a whole fMOST volume, with the evidence for it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.constellation.flat_space import is_sheet
from napari_neurobridge.matching.constellation.seeded import FEWEST, NOTHING, SeededMatch, grow
from napari_neurobridge.matching.constellation.volume_search import (
    VolumeSearchParams,
    search_volume,
)
from napari_neurobridge.models.current import bundled_verifier
from napari_neurobridge.registration.gccm import load_gccm
from napari_neurobridge.registration.pair_looks import looks_of
from napari_neurobridge.registration.quality import (
    AcceptanceCriteria,
    Evidence,
    RegistrationDecision,
    decide,
)
from napari_neurobridge.registration.verify import verify
from napari_neurobridge.spaces.affine import Affine, as_points
from napari_neurobridge.spaces.choose_fit import FitChoice, choose_fit
from napari_neurobridge.spaces.correspondences import Correspondences
from napari_neurobridge.spaces.folding import volume_change

if TYPE_CHECKING:
    from napari_neurobridge.matching.constellation.any_turn import TurnSearch
    from napari_neurobridge.registration.pair_looks import PairJudge
    from napari_neurobridge.registration.verify import Verification
    from napari_neurobridge.spaces.choose_fit import FittedMap
    from napari_neurobridge.types import FloatArray, Report

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# The gallery is cut to what lies so far about the place that was found.
_REACH_UM = 150.0
_MEDIANS, _LEAST_AGREEMENT_UM, _MOST_AGREEMENT_UM = 3.0, 6.0, 25.0
_FEWEST_FITTED = 4


@dataclass(frozen=True)
class LocalisationParams:
    """How a field is looked for, and what is accepted.

    Attributes
    ----------
    search : VolumeSearchParams
    min_confidence : float
        Of a match that is handed on.
    criteria : AcceptanceCriteria
        As for two planes, but for the margin, which the search judges itself.
    """

    search: VolumeSearchParams = field(default_factory=VolumeSearchParams)
    min_confidence: float = 0.5
    criteria: AcceptanceCriteria = field(
        default_factory=lambda: AcceptanceCriteria(least_margin=1.0)
    )


@dataclass(frozen=True, eq=False)
class Localisation:
    """Where a field lies in a volume, on what evidence, and whether that is enough.

    Attributes
    ----------
    source_um, target_um : ndarray, shape (K, 3)
        Matched somata, µm (z, y, x) of the field and of the volume.
    confidence : ndarray, shape (K,)
        Geometric consistency C of each.
    agreeing : ndarray of bool, shape (K,)
        Which are verified and agree with the map.
    choice : FitChoice or None
        The map from field to volume, accepted or not; None where there is none.
    evidence : Evidence
    decision : RegistrationDecision
    seconds : float
        That it took.
    """

    source_um: Float64Array
    target_um: Float64Array
    confidence: Float64Array
    agreeing: BoolArray
    choice: FitChoice | None
    evidence: Evidence
    decision: RegistrationDecision
    seconds: float

    @property
    def transform(self) -> FittedMap | None:
        """The map from field to volume; None unless it is accepted."""
        return self.choice.transform if self.choice and self.decision.accepted else None


def localise(
    source_um: npt.ArrayLike,
    target_um: npt.ArrayLike,
    *,
    orientation: FloatArray,
    params: LocalisationParams | None = None,
    names: tuple[str, str] = ("two_photon", "fmost"),
    judge: PairJudge | None = None,
    report: Report | None = None,
) -> Localisation:
    """Find a plane or stack of somata in a whole volume, or say that it cannot be found.

    Neighbourhoods are looked for in the whole volume at all angles about the optical axis
    (`search_volume`); the best place is matched soma by soma, depth, tilt and bending included;
    the matches are verified by their geometry, and the simplest map is fitted that held-out
    matches justify.

    Parameters
    ----------
    source_um, target_um : array_like, shape (N, 3) and (M, 3)
        Somata of the field and of the volume, µm (z, y, x), each in its own space.
    orientation : ndarray, shape (3, 3)
        Rough linear part of the map; see `search_volume`.
    params : LocalisationParams, optional
    names : tuple of str
        Of the two spaces.
    judge : callable, optional
        Takes places of pairs, (K, 3) each, that one map brings together, and returns how much
        likelier each two are one soma than two by what they look like: log likelihood ratios, (K,).
    report : callable, optional
        Called as ``report(done, total, message)``; may raise to cancel.

    Raises
    ------
    InputError
        If a point is no finite number, the orientation is not (3, 3) and invertible, or most
        somata of a side coincide.
    """
    begin = time.perf_counter()
    source, target = as_points(source_um), as_points(target_um)
    rough = _checked(orientation)
    params = params or LocalisationParams()
    counts: dict[str, float] = {"n_source": len(source), "n_target": len(target)}
    if min(len(source), len(target)) < FEWEST:
        few = f"A field is found by at least {FEWEST} somata on either side."
        return _refused(few, "least_matches", counts, begin)
    looks = looks_of(judge, source, target)
    found = search_volume(
        source, target, orientation=rough, params=params.search, looks=looks, report=report
    )
    counts["margin"] = found.evidence / max(found.other_evidence, 1.0)
    if not found.known:
        return _refused(found.reason, "least_margin", counts, begin)
    match = _grown(source, target, found, params.min_confidence)
    if len(match.pairs) < FEWEST:
        why = "The neighbourhoods of the somata agree on no common map."
        return _refused(why, "least_matches", counts, begin)
    here, there = source[match.pairs[:, 0]], target[match.pairs[:, 1]]
    if judge is not None:
        alike = judge(here, there) > 0
        if alike.sum() >= FEWEST:
            here, there = here[alike], there[alike]
    judged = _verified(here, there, rough)
    weights = np.where(judged.kept, judged.confidence, 0.0)
    counts |= {
        "n_initial": len(here),
        "n_verified": int(judged.kept.sum()),
        "inlier_ratio": judged.inlier_ratio,
    }
    try:
        choice, agreeing, held_out = _fitted(here, there, weights, found.linear, names)
    except InputError as error:
        return _refused(str(error), "least_matches", counts, begin)
    evidence = Evidence(
        **counts,
        n_agreeing=int(agreeing.sum()),
        **_measures(choice, here[agreeing], rough),
        **_residuals(held_out[agreeing]),
        **_covered(source, here[agreeing], target, choice, params.criteria.coverage_cell_um),
    )
    decision = decide(evidence, params.criteria)
    seconds = time.perf_counter() - begin
    return Localisation(
        here, there, judged.confidence, agreeing, choice, evidence, decision, seconds
    )


def _checked(orientation: FloatArray) -> Float64Array:
    linear = np.asarray(orientation, dtype=np.float64)
    if linear.shape != (3, 3) or not np.isfinite(linear).all() or abs(np.linalg.det(linear)) < 1e-6:
        raise InputError("The orientation must be an invertible (3, 3) matrix of finite numbers.")
    return linear


def _refused(reason: str, failed: str, known: dict[str, Any], begin: float) -> Localisation:
    evidence = Evidence(
        **({"n_initial": 0, "n_verified": 0, "inlier_ratio": 0.0} | known), n_agreeing=0
    )
    nothing = np.empty((0, 3))
    return Localisation(
        nothing,
        nothing,
        np.empty(0),
        np.empty(0, dtype=np.bool_),
        None,
        evidence,
        RegistrationDecision(accepted=False, reason=reason, failed=(failed,)),
        time.perf_counter() - begin,
    )


def _grown(
    source: Float64Array, target: Float64Array, found: TurnSearch, min_confidence: float
) -> SeededMatch:
    """Match the field soma by soma, in the part of the volume about the seeds' map."""
    here, there = source[found.seeds[:, 0]], target[found.seeds[:, 1]]
    mapped = (source - here.mean(axis=0)) @ found.linear.T + there.mean(axis=0)
    low, high = mapped.min(axis=0) - _REACH_UM, mapped.max(axis=0) + _REACH_UM
    near = np.flatnonzero(((target >= low) & (target <= high)).all(axis=1))
    place = np.full(len(target), -1, dtype=np.intp)
    place[near] = np.arange(len(near))
    seeds = np.column_stack([found.seeds[:, 0], place[found.seeds[:, 1]]])
    seeds = seeds[seeds[:, 1] >= 0]
    if len(seeds) < _FEWEST_FITTED:
        return NOTHING
    match = grow(source, target[near], seeds, found.linear, min_confidence=min_confidence)
    pairs = np.column_stack([match.pairs[:, 0], near[match.pairs[:, 1]]])
    return SeededMatch(pairs, match.confidence, match.evidence)


def _verified(here: Float64Array, there: Float64Array, rough: Float64Array) -> Verification:
    """Judge matches by their geometry; those of a plane in the plane."""
    if not is_sheet(here):
        return verify(here, there, gccm=load_gccm(bundled_verifier(3)))
    back = there @ np.linalg.inv(rough).T
    return verify(here[:, 1:], back[:, 1:], gccm=load_gccm(bundled_verifier(2)))


def _fitted(
    here: Float64Array,
    there: Float64Array,
    weights: Float64Array,
    linear: Float64Array,
    names: tuple[str, str],
) -> tuple[FitChoice, BoolArray, Float64Array]:
    """Return the map, what agrees with it, and how far off what was held out lies, (K,)."""
    for _ in range(2):
        matches = Correspondences(here, there, weights, source=names[0], target=names[1])
        choice = choose_fit(matches, orientation=linear)
        off = np.linalg.norm(choice.transform.map_points(here) - there, axis=1)
        for held in choice.held_out:
            if held.kind is choice.kind:
                off = np.where(np.isfinite(held.residuals_um), held.residuals_um, off)
        usual = _MEDIANS * float(np.median(off[weights > 0]))
        agreeing = (weights > 0) & (off <= min(max(usual, _LEAST_AGREEMENT_UM), _MOST_AGREEMENT_UM))
        # A thin plate bends to wrong matches, unless they are left out.
        weights = np.where(agreeing, weights, 0.0)
    return choice, agreeing, np.asarray(off)


def _measures(choice: FitChoice, here: Float64Array, rough: Float64Array) -> dict[str, Any]:
    """Return how the map stretches, turns and bends the field."""
    transform = choice.transform
    affine = transform if isinstance(transform, Affine) else transform.base
    sizes = np.linalg.svd(affine.linear[:, 1:], compute_uv=False)
    (a, b), (c, d) = (np.linalg.inv(rough) @ affine.linear)[1:, 1:]
    extents = np.linalg.svd(here[:, 1:] - here[:, 1:].mean(axis=0), compute_uv=False)
    known = {
        "kind": str(choice.kind),
        "turned_over": choice.turned_over,
        "scale": float(np.sqrt(np.prod(sizes))),
        "stretch": float(sizes[0] / sizes[1]),
        "angle_deg": float(np.rad2deg(np.arctan2(c - b, a + d))),
        "spread": float(extents[1] / max(extents[0], 1e-9)),
    }
    try:
        factor = volume_change(transform, here.min(axis=0), here.max(axis=0)).factor
    except InputError:
        return known | {"folded": True}
    if (factor <= 0).any():
        return known | {"folded": True}
    return known | {"area_change": float(np.exp(np.abs(np.log(factor)).max()))}


def _residuals(held_out: Float64Array) -> dict[str, float]:
    if not len(held_out):
        return {}
    return {
        "residual_median_um": float(np.median(held_out)),
        "residual_mean_um": float(held_out.mean()),
        "residual_p90_um": float(np.percentile(held_out, 90)),
    }


def _covered(
    source: Float64Array,
    here: Float64Array,
    target: Float64Array,
    choice: FitChoice,
    cell_um: float,
) -> dict[str, float]:
    """Return which part of the field lies in the volume, and which of that holds a match.

    Both are counted in cells of the image plane that hold somata of the field.
    """
    cells = np.floor(source[:, 1:] / cell_um).astype(int)
    mapped = choice.transform.map_points(source)
    inside = ((mapped >= target.min(axis=0)) & (mapped <= target.max(axis=0))).all(axis=1)
    held = {tuple(cell) for cell in np.floor(here[:, 1:] / cell_um).astype(int).tolist()}
    shared = {tuple(cell) for cell in cells[inside].tolist()}
    return {
        "overlap": float(inside.mean()),
        "coverage": len(held & shared) / max(len(shared), 1),
        "coverage_cell_um": cell_um,
    }
