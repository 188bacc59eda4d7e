"""Whether the field's in-plane angle is found without labels, and what that saves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from napari_neurobridge.benchmarks.contract import (
    BenchmarkResult,
    Level,
    ModelParameters,
    Seeds,
)
from napari_neurobridge.benchmarks.pose_scenes import PoseScene, TurnedEmbeddings
from napari_neurobridge.benchmarks.robustness import TEST_SEEDS
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.matching.appearance.pose_search import search_pose
from napari_neurobridge.training.simulated_data import EVALUATION_CELLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.types import Float32Array, Report

ANGLES_DEG = (0.0, 10.0, 20.0, 30.0, 70.0, 120.0, 180.0)
WITHIN_DEG = 3.0


class PoseRow(BaseModel, frozen=True):
    """All scenes turned by one angle."""

    turned_deg: float = Field(description="Beside what each scene's own misfit turns.")
    within: int = Field(description="Scenes whose angle was found within 3°.")
    unknown: int = Field(description='Scenes where the answer is "does not know".')
    wrong: int = Field(description="All others.")
    largest_error_deg: float | None = Field(description="Of the proposals.")
    smallest_deviations: float = Field(description="How far the best angle stands out at least.")
    top1_before: float = Field(description="Top-1, with the field as it is turned.")
    top1_after: float = Field(description="Top-1, with what was proposed applied.")


class PoseParameters(ModelParameters):
    """Scenes, and by how much they are turned."""

    level: Level = "paper"
    seeds: Seeds = TEST_SEEDS
    angles: tuple[float, ...] = Field(
        ANGLES_DEG,
        description="By how much the field is turned, degrees; repeat it for more.",
        json_schema_extra={"option": "angle"},
    )
    cells: int = Field(EVALUATION_CELLS, ge=1, description="Cells of a scene.")


class PoseBenchmark(BenchmarkResult):
    """The search for the angle on held-out scenes."""

    model: str = Field(description="Name and hash of the encoder.")
    level: str = Field(description="Difficulty of the simulation.")
    seeds: tuple[int, ...] = Field(description="One scene each.")
    cells: int = Field(description="Cells per scene: queries and candidates.")
    results: tuple[PoseRow, ...]
    unrelated: int = Field(description="Searches against another scene's fMOST crops.")
    unrelated_proposals: int = Field(description="Angles proposed there; each is wrong.")
    unrelated_deviations: float | None = Field(description="The largest among these searches.")

    def summary(self) -> str:
        """Return a table, and what was proposed where nothing is right."""
        header = tuple(PoseRow.model_fields)
        rows = [[getattr(row, name) for name in header] for row in self.results]
        wrong = f"{self.unrelated_proposals} of {self.unrelated}"
        return (
            f"{text_table(header, rows)}\nbetween unrelated scenes an angle was proposed in {wrong}"
        )


class _Outcome(BaseModel, frozen=True):
    """One scene at one angle."""

    error_deg: float | None
    deviations: float
    before: int
    after: int
    cells: int


def benchmark_pose(
    encoder: Encoder,
    parameters: PoseParameters | None = None,
    *,
    report: Report | None = None,
) -> PoseBenchmark:
    """Turn held-out scenes, find the angle without labels, and rank the cells before and after.

    Parameters
    ----------
    encoder : Encoder
        The model to test.
    parameters : PoseParameters, optional
        The two-photon side is turned by the angles beside what the misfit turns.
    report : callable, optional
        Called as ``report(done, total, text)``.

    Raises
    ------
    InputError
        If no seed or no angle is given, or the level is unknown.
    """
    parameters = parameters or PoseParameters()
    seeds, level, cells = parameters.seeds, parameters.level, parameters.cells
    angles_deg = parameters.angles
    if not seeds or not angles_deg:
        raise InputError("the benchmark needs at least one scene and one angle")
    outcomes: dict[float, list[_Outcome]] = {angle: [] for angle in angles_deg}
    unrelated: list[float] = []
    proposals = 0
    galleries: list[Float32Array] = []
    for done, seed in enumerate(seeds):
        if report is not None:
            report(done, len(seeds), f"scene {seed}")
        scene = PoseScene.simulate(seed, level, cells)
        embeddings, gallery = TurnedEmbeddings(scene, encoder), encoder.embed(scene.fmost)
        views = encoder.config.views
        for angle in angles_deg:
            outcomes[angle].append(_turned(scene, embeddings, gallery, angle, views))
        for other in galleries:
            found = search_pose(embeddings.at, other, views=views)
            unrelated.append(found.deviations)
            proposals += found.known
        galleries.append(gallery)
    return PoseBenchmark(
        model=f"{encoder.name} {encoder.hash}",
        level=level,
        seeds=seeds,
        cells=cells,
        results=tuple(_row(angle, found) for angle, found in outcomes.items()),
        unrelated=len(unrelated),
        unrelated_proposals=proposals,
        unrelated_deviations=max(unrelated, default=None),
    )


def run(parameters: PoseParameters, *, report: Report | None = None) -> PoseBenchmark:
    """Answer the command line."""
    return benchmark_pose(parameters.encoder(), parameters, report=report)


def _turned(
    scene: PoseScene,
    embeddings: TurnedEmbeddings,
    gallery: Float32Array,
    turned_deg: float,
    views: int,
) -> _Outcome:
    """Search where the two-photon side is turned back, so that the right answer is more."""
    found = search_pose(lambda angle: embeddings.at(angle - turned_deg), gallery, views=views)
    proposal = found.proposal_deg
    error = None
    if proposal is not None:
        error = abs((proposal - turned_deg - scene.angle_deg + 180) % 360 - 180)
    return _Outcome(
        error_deg=error,
        deviations=found.deviations,
        before=_hits(embeddings.at(-turned_deg), gallery),
        after=_hits(embeddings.at((proposal or 0.0) - turned_deg), gallery),
        cells=len(gallery),
    )


def _hits(queries: Float32Array, gallery: Float32Array) -> int:
    """Return for how many queries the first candidate is the partner."""
    first = (queries @ gallery.T).argmax(axis=1)
    return int((first == np.arange(len(queries))).sum())


def _row(turned_deg: float, found: Sequence[_Outcome]) -> PoseRow:
    errors = [outcome.error_deg for outcome in found if outcome.error_deg is not None]
    within = sum(error <= WITHIN_DEG for error in errors)
    cells = sum(outcome.cells for outcome in found)
    return PoseRow(
        turned_deg=turned_deg,
        within=within,
        unknown=len(found) - len(errors),
        wrong=len(errors) - within,
        largest_error_deg=max(errors, default=None),
        smallest_deviations=min(outcome.deviations for outcome in found),
        top1_before=sum(outcome.before for outcome in found) / cells,
        top1_after=sum(outcome.after for outcome in found) / cells,
    )
