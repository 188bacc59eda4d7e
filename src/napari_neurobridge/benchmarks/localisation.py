"""Planes and stacks of somata found in a whole fMOST volume: where, how long, and what is refused.

The tissue and the two labels are the simulation's, at some 800 × 600 × 800 µm, with its
deformation; the volume is not imaged. What both detectors would find is drawn: the recall of the
plane by depth follows what the feature network finds in imaged scenes of the level `paper`; the
volume's recall, all false finds and all errors of place are assumed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from napari_neurobridge.benchmarks.contract import BenchmarkParameters, BenchmarkResult, Level
from napari_neurobridge.benchmarks.scene_cost import peak_memory_gb
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.matching.constellation.localise import localise
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.neurons.sources import neuron_factory
from napari_neurobridge.simulation.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_neurobridge.matching.constellation.localise import Localisation
    from napari_neurobridge.types import Report, Vec3

Float64Array = npt.NDArray[np.float64]

RIGHT_UM = 10.0
_VOLUME_UM = (600.0, 770.0, 770.0)
_FIELD_UM = 420.0
# Assumed.
_VOLUME_RECALL, _VOLUME_FALSE, _VOLUME_NOISE_UM = 0.9, 0.08, (2.5, 1.0, 1.0)
# As found on imaged scenes: somata that lie off the plane by up to the first number are shown with
# the second as probability.
_PLANE_SHOWS = ((5.0, 0.88), (9.0, 0.3), (13.0, 0.1))
_FIELD_FALSE, _PLANE_NOISE_UM = 0.25, 1.2
_STACK_UM, _STACK_RECALL, _STACK_NOISE_UM = 80.0, 0.7, (3.0, 1.2, 1.2)
_GRID = 12


class LocalisationParameters(BenchmarkParameters):
    """How many sites, and of what kind."""

    level: Level = "paper"
    kind: Literal["plane", "stack"] = Field(
        "plane", description="A plane or recording, or a stack of 80 µm."
    )
    volumes: int = Field(5, ge=2, description="Simulated brains.")
    sites: int = Field(4, ge=1, description="Fields of each that are looked for in it.")
    unrelated: int = Field(0, ge=0, description="Fields of each that are looked for in the next.")
    seed: int = Field(100, description="Of the first brain.")


class LocalisationRow(BaseModel, frozen=True):
    """One field."""

    seed: int
    related: bool = Field(description="Whether the volume holds the field.")
    accepted: bool
    error_um: float | None = Field(
        description="Of the map, median over the field; of refused ones, too, if there is a map."
    )
    evidence_ratio: float | None = Field(description="Of the best map over the best other one.")
    n_source: int
    n_verified: int
    seconds: float
    processor_seconds: float


class LocalisationBenchmark(BenchmarkResult):
    """All fields."""

    level: str
    kind: str
    right: float | None = Field(description="Share accepted and within 10 µm, of related fields.")
    wrong: int = Field(description="Accepted, but farther off, or not in the volume at all.")
    refused_unrelated: float | None
    median_error_um: float | None = Field(description="Of what is right.")
    longest_s: float
    longest_processor_s: float
    peak_memory_gb: float | None = Field(description="Of the whole process, where it can be told.")
    rows: tuple[LocalisationRow, ...]

    def summary(self) -> str:
        """Return the table, and the shares."""
        header = ("brain", "related", "accepted", "error µm", "ratio", "somata", "s", "processor s")
        lines = [
            (
                str(row.seed),
                "yes" if row.related else "no",
                "yes" if row.accepted else "no",
                "" if row.error_um is None else f"{row.error_um:.1f}",
                "" if row.evidence_ratio is None else f"{row.evidence_ratio:.2f}",
                str(row.n_source),
                f"{row.seconds:.0f}",
                f"{row.processor_seconds:.0f}",
            )
            for row in self.rows
        ]
        right = "none" if self.right is None else f"{self.right:.0%}"
        said = f"{right} right within {RIGHT_UM:g} µm; {self.wrong} wrongly accepted"
        return f"{text_table(header, lines)}\n{said}; at most {self.longest_processor_s:.0f} s."


@dataclass(frozen=True, eq=False)
class FieldSite:
    """Somata of a field of view, turned by any angle, and where they are.

    Attributes
    ----------
    somata_um : ndarray, shape (N, 3)
        In the field's own space; a plane has depth 0.
    low_um : ndarray, shape (3,)
        Its first corner, before it was turned, in the two-photon space of the whole tissue.
    turn : ndarray, shape (2, 2)
        About its middle.
    """

    somata_um: Float64Array
    low_um: Float64Array
    turn: Float64Array

    def in_tissue(self, points_um: Float64Array) -> Float64Array:
        """Return where points (N, 3) of the field lie in the two-photon space."""
        middle = _FIELD_UM / 2
        flat = (points_um[:, 1:] - middle) @ self.turn.T + middle
        return np.asarray(np.column_stack([points_um[:, 0], flat]) + self.low_um)


class SimulatedBrain:
    """A large block of tissue, and what a detector finds in its fMOST volume.

    Parameters
    ----------
    level : str
    seed : int
    size_um : Vec3
        Of the tissue as the two-photon microscope would see it.
    """

    def __init__(self, level: str, seed: int, size_um: Vec3 = _VOLUME_UM) -> None:
        difficulty = named_level(level)
        self.seed = seed
        self.scene = Scene(difficulty, size_um, seed, neuron_factory(difficulty.morphology, ()))
        self._truth = self.scene.truth()
        self._rng = np.random.default_rng(seed)
        # Place and angle are unknown, the axes and their expansion are stated.
        stated = self.scene.orientation.model_copy(update={"angle_deg": 0.0})
        self.orientation: Float64Array = stated.linear()
        self.gallery_um = self._detected()

    def draw_site(self, kind: str) -> FieldSite:
        """Draw a field of view at any depth and angle, and what a detector finds in it."""
        rng, extent = self._rng, self.scene.two_photon.extent_um
        angle = rng.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        thick = _STACK_UM if kind == "stack" else 0.0
        room = extent - (thick, _FIELD_UM, _FIELD_UM)
        low = np.array([rng.uniform(20, room[0] - 20), *rng.uniform(0, room[1:])])
        middle = _FIELD_UM / 2
        cells = self._truth.two_photon_um[self._truth.in_two_photon] - low
        cells[:, 1:] = (cells[:, 1:] - middle) @ turn + middle
        held = ((cells[:, 1:] >= 0) & (cells[:, 1:] <= _FIELD_UM)).all(axis=1)
        cells = cells[held & (rng.random(len(cells)) < _shown(cells[:, 0], thick))]
        noise = _STACK_NOISE_UM if thick else (0.0, _PLANE_NOISE_UM, _PLANE_NOISE_UM)
        found = cells * (thick > 0, 1, 1) + rng.standard_normal(cells.shape) * noise
        false = rng.random((int(_FIELD_FALSE * len(found)), 3)) * (thick, _FIELD_UM, _FIELD_UM)
        return FieldSite(np.concatenate([found, false]), low, turn)

    def error_um(self, site: FieldSite, found: Localisation) -> float | None:
        """Return the median error of a map over the field; None where there is none."""
        if found.choice is None:
            return None
        at = np.linspace(0, _FIELD_UM, _GRID)
        nodes = np.stack(np.meshgrid([0.0], at, at, indexing="ij"), axis=-1).reshape(-1, 3)
        if found.source_um[:, 0].any():
            nodes[:, 0] = _STACK_UM / 2
        true = self.scene.transform.map_points(site.in_tissue(nodes))
        off = found.choice.transform.map_points(nodes) - true
        return float(np.median(np.linalg.norm(off, axis=1)))

    def _detected(self) -> Float64Array:
        rng, truth = self._rng, self._truth
        cells = truth.fmost_um[truth.in_fmost]
        cells = cells[rng.random(len(cells)) < _VOLUME_RECALL]
        # Depth is the optical axis, along which slabs are joined.
        noise = np.abs(self.orientation / np.cbrt(np.linalg.det(self.orientation)))
        cells = cells + rng.standard_normal(cells.shape) * (noise @ _VOLUME_NOISE_UM)
        false = rng.random((int(_VOLUME_FALSE * len(cells)), 3)) * self.scene.fmost.extent_um
        return np.concatenate([cells, false])


def _shown(depth_um: Float64Array, thick_um: float) -> Float64Array:
    """Return how probably a cell at a depth is found in the field, (N,)."""
    if thick_um:
        return np.where((depth_um >= 0) & (depth_um <= thick_um), _STACK_RECALL, 0.0)
    chance = np.zeros(len(depth_um))
    for reach, share in reversed(_PLANE_SHOWS):
        chance[np.abs(depth_um) < reach] = share
    return chance


def run(
    parameters: LocalisationParameters, *, report: Report | None = None
) -> LocalisationBenchmark:
    """Look for fields in the volumes that hold them, and in others."""
    rows = list(_rows(parameters, report))
    related = [row for row in rows if row.related]
    right = [row for row in related if row.accepted and (row.error_um or 0.0) <= RIGHT_UM]
    others = [row for row in rows if not row.related]
    errors = [row.error_um for row in right if row.error_um is not None]
    return LocalisationBenchmark(
        level=parameters.level,
        kind=parameters.kind,
        right=len(right) / len(related) if related else None,
        wrong=sum(row.accepted for row in rows) - len(right),
        refused_unrelated=sum(not row.accepted for row in others) / len(others) if others else None,
        median_error_um=float(np.median(errors)) if errors else None,
        longest_s=max(row.seconds for row in rows),
        longest_processor_s=max(row.processor_seconds for row in rows),
        peak_memory_gb=peak_memory_gb(),
        rows=tuple(rows),
    )


def _rows(parameters: LocalisationParameters, report: Report | None) -> Iterator[LocalisationRow]:
    each = parameters.sites + parameters.unrelated
    total, done = parameters.volumes * each, 0
    last: tuple[FieldSite, ...] = ()
    if parameters.unrelated:
        before = SimulatedBrain(parameters.level, parameters.seed + parameters.volumes)
        last = tuple(before.draw_site(parameters.kind) for _ in range(parameters.unrelated))
    for number in range(parameters.volumes):
        brain = SimulatedBrain(parameters.level, parameters.seed + number)
        own = tuple(brain.draw_site(parameters.kind) for _ in range(max(each, 1)))
        for site in own[: parameters.sites]:
            if report is not None:
                report(done, total, "looking for a field in its brain")
            yield _row(brain, site, related=True)
            done += 1
        for site in last:
            if report is not None:
                report(done, total, "looking for a field in another brain")
            yield _row(brain, site, related=False)
            done += 1
        last = own[parameters.sites : parameters.sites + parameters.unrelated]


def _row(brain: SimulatedBrain, site: FieldSite, *, related: bool) -> LocalisationRow:
    begin = time.process_time()
    found = localise(site.somata_um, brain.gallery_um, orientation=brain.orientation)
    return LocalisationRow(
        seed=brain.seed,
        related=related,
        accepted=found.decision.accepted,
        error_um=brain.error_um(site, found) if related else None,
        evidence_ratio=found.evidence.margin,
        n_source=found.evidence.n_source,
        n_verified=found.evidence.n_verified,
        seconds=found.seconds,
        processor_seconds=time.process_time() - begin,
    )
