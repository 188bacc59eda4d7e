"""Starting without any landmark, on simulated scenes whose true partners are known."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from scipy.spatial.transform import Rotation

from napari_neurobridge.benchmarks.contract import BenchmarkParameters, BenchmarkResult, Level
from napari_neurobridge.benchmarks.points import PointPairs
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.matching.constellation.matcher import match_constellation
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.neurons.sources import neuron_factory
from napari_neurobridge.simulation.scene import Scene
from napari_neurobridge.types import Vec3

if TYPE_CHECKING:
    from napari_neurobridge.matching.constellation.model import Constellation
    from napari_neurobridge.types import Report

SIZE_UM: Vec3 = (140.0, 350.0, 350.0)
"""Of the two-photon field: some 470 visible somata at level ``paper`` with 30 % missing."""

RIGHT_FROM = 0.6
"""A field starts right if this share of its matchable cells is matched rightly."""

# How exactly somata are detected, each component.
_NOISE_UM = 1.5


@dataclass(frozen=True, eq=False)
class TurnedField:
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


class ConstellationParameters(BenchmarkParameters):
    """Scenes to match, from how rough an orientation, and by which network."""

    model: str | None = Field(
        None, description="Matcher: a name or a folder; the bundled one unless given."
    )
    level: Level = "paper"
    fields: int = Field(20, ge=1, description="How many scenes.")
    seed: int = Field(5000, description="Of the first scene.")
    missing: float = Field(0.3, ge=0, le=0.9, description="Share of cells a side lacks.")
    angle: float = Field(
        30.0, ge=0, le=180, description="Largest error of the orientation, about any axis."
    )
    size: Vec3 = Field(
        SIZE_UM,
        description="Of the two-photon field, µm.",
        json_schema_extra={"metavar": "Z Y X"},
    )


class ConstellationBenchmark(BenchmarkResult):
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

    def summary(self) -> str:
        """Return a table of the fields, and the shares."""
        header = tuple(ConstellationTrial.model_fields)
        rows = [[getattr(row, name) for name in header] for row in self.trials]
        shares = (
            f"started right {self.started_right:.2f}, unknown {self.unknown:.2f}, "
            f"wrong though claimed {self.wrong_known:.2f}, "
            f"claimed in other tissue {self.unrelated_known:.2f}"
        )
        return f"{text_table(header, rows)}\n{shares}"


def benchmark_constellation(
    parameters: ConstellationParameters | None = None,
    *,
    model: Constellation | None = None,
    report: Report | None = None,
) -> ConstellationBenchmark:
    """Match held-out scenes from a rough orientation alone.

    Parameters
    ----------
    parameters : ConstellationParameters, optional
        The scenes are of consecutive seeds.
    model : Constellation, optional
        A network, instead of the one that is named.
    report : callable, optional
        Called as ``report(done, total, message)``.
    """
    asked = parameters or ConstellationParameters()

    def scene(number: int) -> TurnedField:
        return scene_field(asked.seed + number, asked.level, asked.missing, asked.angle, asked.size)

    trials = []
    other = scene(asked.fields)
    for number in range(asked.fields):
        if report is not None:
            report(number, asked.fields, "matching constellations")
        field = scene(number)
        trials.append(_trial(asked.seed + number, field, other, model or asked.model))
        other = field
    wrong = [trial.known and trial.right < RIGHT_FROM for trial in trials]
    return ConstellationBenchmark(
        model="given" if model else asked.model or "bundled",
        level=asked.level,
        missing=asked.missing,
        angle_deg=asked.angle,
        size_um=asked.size,
        fields=asked.fields,
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


def run(
    parameters: ConstellationParameters, *, report: Report | None = None
) -> ConstellationBenchmark:
    """Answer the command line."""
    return benchmark_constellation(parameters, report=report)


def scene_field(
    seed: int, level: str, missing: float, angle_deg: float, size_um: Vec3
) -> TurnedField:
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
    return TurnedField(PointPairs(sides[0], sides[1], row[here]), orientation, angle)


def _trial(
    seed: int, field: TurnedField, other: TurnedField, model: Constellation | str | None
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
