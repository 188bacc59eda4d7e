"""First clicks in a project that is registered and has no pair: are partners listed first."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, Field

from napari_neurobridge.benchmarks.contract import BenchmarkParameters, BenchmarkResult, Level
from napari_neurobridge.benchmarks.effort_projects import TableField
from napari_neurobridge.benchmarks.matching_scenes import detected_pairs
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.spaces.orientation import Orientation
from napari_neurobridge.workflows.rank import rank_cell
from napari_neurobridge.workflows.register import apply_registration, propose_registration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.benchmarks.effort_projects import KnownProject
    from napari_neurobridge.benchmarks.points import PointPairs
    from napari_neurobridge.training.scene_volumes import SceneVolumes
    from napari_neurobridge.types import Report, Vec3

Float64Array = npt.NDArray[np.float64]

SIZE_UM: Vec3 = (80.0, 420.0, 420.0)
# Planes of 2 µm whose mean stands for a long recording of one plane.
_PLANES = 3
_LISTED = 10


class FirstClicksParameters(BenchmarkParameters):
    """Projects to click in."""

    level: Level = "paper"
    kind: Literal["stack", "plane"] = Field(
        "stack", description="What the two-photon side is: the whole scene, or its middle plane."
    )
    scenes: int = Field(6, ge=1, description="Held-out scenes, simulated unless cached.")
    first_seed: int = Field(60_000, ge=0, description="Of the first scene.")
    cells: int = Field(100, ge=1, description="Of each scene that are asked about, at most.")
    cache: Path | None = Field(None, description="Folder to keep the scenes in.")


class FirstClicksRow(BaseModel, frozen=True):
    """One project."""

    seed: int
    n_queries: int
    n_gallery: int
    n_known: int = Field(description="Cells that were detected on both sides.")
    accepted: bool
    asked: int
    first: float | None = Field(description="Share of these whose partner comes first.")
    listed: float | None = Field(description="Share whose partner is among the first ten.")
    off_um: float | None = Field(description="Median distance of partner and expected place.")
    seconds: float = Field(description="For the registration, somata being known.")


class FirstClicksBenchmark(BenchmarkResult):
    """All projects."""

    level: str
    kind: str
    accepted: int
    first: float = Field(description="Share of all cells; those of refused projects are not.")
    rows: tuple[FirstClicksRow, ...]

    def summary(self) -> str:
        """Return the table, and the share."""
        header = tuple(FirstClicksRow.model_fields)
        table = text_table(header, [[getattr(row, name) for name in header] for row in self.rows])
        said = f"{self.accepted} of {len(self.rows)} projects are registered"
        return f"{table}\n{said}; the partner comes first for {self.first:.1%} of the cells."


def run(parameters: FirstClicksParameters, *, report: Report | None = None) -> FirstClicksBenchmark:
    """Detect somata in imaged scenes, register them, and ask about cells before any pair."""
    rows = []
    with TemporaryDirectory(prefix="neurobridge-benchmark-") as folder:
        for number in range(parameters.scenes):
            seed = parameters.first_seed + number
            if report is not None:
                report(number, parameters.scenes, f"project of scene {seed}")
            rows.append(_row(parameters, seed, parameters.cache or Path(folder)))
    right = sum((row.first or 0.0) * row.asked for row in rows)
    return FirstClicksBenchmark(
        level=parameters.level,
        kind=parameters.kind,
        accepted=sum(row.accepted for row in rows),
        first=right / max(sum(row.asked for row in rows), 1),
        rows=tuple(rows),
    )


def _row(parameters: FirstClicksParameters, seed: int, cache: Path) -> FirstClicksRow:
    from napari_neurobridge.training.scene_volumes import cached_scene  # torch

    rng = np.random.default_rng(seed)
    pairs = _detected(cached_scene(seed, parameters.level, SIZE_UM, cache), parameters.kind, rng)
    with TemporaryDirectory(prefix="neurobridge-benchmark-") as folder:
        known = TableField(pairs).begin(Path(folder), rng)
        known.project.set_orientation(known.project.ex_vivo(), Orientation())
        began = time.perf_counter()
        proposal = propose_registration(known.project)
        seconds = time.perf_counter() - began
        uids = rng.permutation(sorted(known.partner))[: parameters.cells].tolist()
        accepted = proposal.found.decision.accepted
        ranks, off = None, None
        if accepted:
            apply_registration(known.project, proposal, annotator="benchmark")
            ranks = _ranks(known, uids)
            off = _off_um(known, uids)
        known.project.close()
    return FirstClicksRow(
        seed=seed,
        n_queries=len(pairs.queries_um),
        n_gallery=len(pairs.gallery_um),
        n_known=int((pairs.partner >= 0).sum()),
        accepted=accepted,
        asked=len(uids),
        first=None if ranks is None else float((ranks == 0).mean()),
        listed=None if ranks is None else float((ranks < _LISTED).mean()),
        off_um=off,
        seconds=seconds,
    )


def _detected(scene: SceneVolumes, kind: str, rng: np.random.Generator) -> PointPairs:
    """Find the somata of both volumes, and turn the field by any angle."""
    from napari_neurobridge.benchmarks.localisation_images import extractor
    from napari_neurobridge.registration.slabs import planes_somata, volume_somata
    from napari_neurobridge.training.scene_volumes import STEP_UM

    there = volume_somata(scene.fmost.astype(np.float32), STEP_UM, extractor()).positions_um
    volume = scene.two_photon.astype(np.float32)
    if kind == "stack":
        here = volume_somata(volume, STEP_UM, extractor()).positions_um
    else:
        middle = len(volume) // 2
        low = middle - _PLANES // 2
        plane = PlanarImage.of(volume[low : low + _PLANES].mean(axis=0), STEP_UM[1])
        found = planes_somata([plane], extractor()).positions_um
        here = np.insert(found, 0, middle * STEP_UM[0], axis=1)
    truth = {
        f"{side}_{axis}_um": places[:, column]
        for side, places in (("two_photon", scene.two_photon_um), ("fmost", scene.fmost_um))
        for column, axis in enumerate("zyx")
    }
    seen = {"in_two_photon": scene.in_two_photon, "in_fmost": scene.in_fmost}
    pairs = detected_pairs(here, there, pd.DataFrame(truth | seen))
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    pairs.queries_um[:, 1:] = pairs.queries_um[:, 1:] @ turn.T
    return pairs


def _ranks(known: KnownProject, uids: Sequence[str]) -> npt.NDArray[np.intp]:
    """Return the place of each cell's partner among the candidates, from 0; ten if it is later."""
    ranks = []
    for uid in uids:
        listed = [one.uid for one in rank_cell(known.project, uid, _LISTED).ranking.candidates]
        partner = known.partner[uid]
        ranks.append(listed.index(partner) if partner in listed else _LISTED)
    return np.array(ranks, dtype=np.intp)


def _off_um(known: KnownProject, uids: Sequence[str]) -> float:
    project, state = known.project, known.project.state()
    here, there = (
        np.array([state.soma(uid).center_um for uid in side])
        for side in (uids, [known.partner[uid] for uid in uids])
    )
    mapped = project.map_points(here, project.in_vivo(), project.ex_vivo())
    return float(np.median(np.linalg.norm(mapped - there, axis=1)))
