"""Starting without any landmark, on simulated scenes whose true partners are known."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from scipy.spatial.transform import Rotation

from napari_neurobridge.benchmarks.points import PointPairs
from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.constellation.matcher import match_constellation
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.neurons.sources import neuron_factory
from napari_neurobridge.simulation.scene import Scene

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.matching.constellation.model import Constellation
    from napari_neurobridge.types import Report, Vec3

SIZE_UM: Vec3 = (140.0, 350.0, 350.0)
"""Of the two-photon field: some 470 visible somata at level ``paper`` with 30 % missing."""

RIGHT_FROM = 0.6
"""A field starts right if this share of its matchable cells is matched rightly."""

# How exactly somata are detected, each component.
_NOISE_UM = 1.5


@dataclass(frozen=True, eq=False)
class SceneField:
    """The somata of a scene as both microscopes show them.

    Attributes
    ----------
    pairs : PointPairs
    orientation : ndarray, shape (3, 3)
        Linear part of the map as a user would state it, turned away from the truth.
    angle_deg : float
        By how much it was turned beyond the scene's own misfit.
    """

    pairs: PointPairs
    orientation: npt.NDArray[np.float64]
    angle_deg: float


class ConstellationTrial(BaseModel, frozen=True):
    """One field, and the same queries in the gallery of another field."""

    seed: int
    n_queries: int
    n_gallery: int
    n_matchable: int
    angle_deg: float
    known: bool
    right: float = Field(description="Matchable cells matched rightly; 0 if it does not know.")
    claims_right: float | None = Field(description="Of all pairs it gives.")
    network_precision: float | None = Field(description="Of the network's own pairs.")
    network_recall: float = Field(description="Of the matchable in the windows it looked for.")
    evidence: float
    decoy_evidence: float
    unrelated_known: bool = Field(description="Whether it claims to know in another's gallery.")
    seconds: float


class ConstellationBenchmark(BaseModel, frozen=True):
    """How often a field is found without any landmark."""

    model: str
    level: str
    missing: float
    angle_deg: float
    size_um: tuple[float, float, float]
    fields: int
    started_right: float = Field(description="Known, and at least 60 % of the matchable right.")
    unknown: float = Field(description="It says that it does not know.")
    wrong_known: float = Field(description="It claims to know, and less than 60 % are right.")
    unrelated_known: float = Field(description="Claims to know in a gallery of other tissue.")
    right_mean: float
    network_precision: float
    network_recall: float
    seconds: float
    trials: tuple[ConstellationTrial, ...]


def benchmark_constellation(
    *,
    fields: int = 20,
    seed: int = 5000,
    level: str = "paper",
    missing: float = 0.3,
    angle_deg: float = 30.0,
    size_um: Vec3 = SIZE_UM,
    model: Constellation | Path | str | None = None,
    report: Report | None = None,
) -> ConstellationBenchmark:
    """Match held-out scenes from a rough orientation alone.

    Parameters
    ----------
    fields : int
        Scenes, of consecutive seeds from ``seed``.
    seed : int
    level : str
        Difficulty of the simulation.
    missing : float
        Share of the cells that either side lacks.
    angle_deg : float
        Largest error of the orientation, about any axis.
    size_um : Vec3
        Of the two-photon field.
    model : Constellation, Path or str, optional
        As for `match_constellation`.
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If there is no field to match.
    """
    if fields < 1:
        raise InputError("The benchmark needs at least one field.")
    trials = []
    other = scene_field(seed + fields, level, missing, angle_deg, size_um)
    for number in range(fields):
        if report is not None:
            report(number, fields, "matching constellations")
        field = scene_field(seed + number, level, missing, angle_deg, size_um)
        trials.append(_trial(seed + number, field, other, model))
        other = field
    wrong = [trial.known and trial.right < RIGHT_FROM for trial in trials]
    return ConstellationBenchmark(
        model="bundled" if model is None else model if isinstance(model, str) else "given",
        level=level,
        missing=missing,
        angle_deg=angle_deg,
        size_um=size_um,
        fields=fields,
        started_right=float(np.mean([trial.right >= RIGHT_FROM for trial in trials])),
        unknown=float(np.mean([not trial.known for trial in trials])),
        wrong_known=float(np.mean(wrong)),
        unrelated_known=float(np.mean([trial.unrelated_known for trial in trials])),
        right_mean=float(np.mean([trial.right for trial in trials])),
        network_precision=float(np.mean([trial.network_precision or 0.0 for trial in trials])),
        network_recall=float(np.mean([trial.network_recall for trial in trials])),
        seconds=float(np.mean([trial.seconds for trial in trials])),
        trials=tuple(trials),
    )


def scene_field(
    seed: int, level: str, missing: float, angle_deg: float, size_um: Vec3
) -> SceneField:
    """Draw a scene, and return the somata that either side shows, with errors of detection."""
    difficulty = named_level(level).changed(
        two_photon_label={"visible_fraction": 1.0 - missing},
        fmost_label={"labelled_fraction": 1.0 - missing},
    )
    scene = Scene(difficulty, size_um, seed, neuron_factory(difficulty.morphology))
    truth, rng = scene.truth(), Key.of(seed).child("constellation").rng()
    here = np.flatnonzero(truth.in_two_photon)
    there = rng.permutation(np.flatnonzero(truth.in_fmost))
    row = np.full(len(truth.in_fmost), -1, dtype=np.intp)
    row[there] = np.arange(len(there))
    sides = [
        points + rng.normal(0, _NOISE_UM, points.shape)
        for points in (truth.two_photon_um[here], truth.fmost_um[there])
    ]
    axis, angle = rng.standard_normal(3), float(rng.uniform(0, angle_deg))
    turned = Rotation.from_rotvec(np.deg2rad(angle) * axis / np.linalg.norm(axis)).as_matrix()
    orientation = scene.orientation.linear() @ turned
    return SceneField(PointPairs(sides[0], sides[1], row[here]), orientation, angle)


def _trial(
    seed: int, field: SceneField, other: SceneField, model: Constellation | Path | str | None
) -> ConstellationTrial:
    pairs = field.pairs
    began = time.perf_counter()
    found = match_constellation(
        pairs.queries_um, pairs.gallery_um, orientation=field.orientation, model=model
    )
    seconds = time.perf_counter() - began
    elsewhere = match_constellation(
        pairs.queries_um, other.pairs.gallery_um, orientation=field.orientation, model=model
    )
    matchable = int((pairs.partner >= 0).sum())
    right, claims_right = _right(found.pairs, pairs, matchable)
    seen = int((pairs.partner[found.network_rows] >= 0).sum())
    recall, precision = _right(found.network_pairs, pairs, seen)
    return ConstellationTrial(
        seed=seed,
        n_queries=len(pairs.queries_um),
        n_gallery=len(pairs.gallery_um),
        n_matchable=matchable,
        angle_deg=field.angle_deg,
        known=found.known,
        right=right,
        claims_right=claims_right,
        network_precision=precision,
        network_recall=recall,
        evidence=found.evidence,
        decoy_evidence=found.decoy_evidence,
        unrelated_known=elsewhere.known,
        seconds=seconds,
    )


def _right(
    claimed: npt.NDArray[np.intp], pairs: PointPairs, matchable: int
) -> tuple[float, float | None]:
    """Return the share of the matchable cells, and of the claims, that are right."""
    right = int((pairs.partner[claimed[:, 0]] == claimed[:, 1]).sum())
    return right / max(matchable, 1), right / len(claimed) if len(claimed) else None
