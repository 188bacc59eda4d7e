"""What crops re-cut in the alignment's frame gain where the stated orientation is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, Field

from napari_neurobridge.benchmarks.contract import (
    BenchmarkResult,
    Level,
    ModelParameters,
    Seeds,
)
from napari_neurobridge.benchmarks.matching_scenes import known_places
from napari_neurobridge.benchmarks.robustness import TEST_SEEDS
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import extract_crops
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.io.volumes import open_volume
from napari_neurobridge.simulation.deformation.deformation import plane_rotation
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.scene_files import simulate_scene
from napari_neurobridge.spaces.crop_frame import CropFrame
from napari_neurobridge.spaces.fit import fit_alignment
from napari_neurobridge.spaces.landmarks import Landmarks
from napari_neurobridge.training.evaluation import top_k
from napari_neurobridge.training.simulated_data import EVALUATION_CELLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.types import Float32Array, Report, Vec3

Turn: TypeAlias = Literal["tilt", "rotation"]
Layout: TypeAlias = Literal["spread", "plane", "corner"]
FloatArray: TypeAlias = npt.NDArray[np.float64]
RowArray: TypeAlias = npt.NDArray[np.intp]

FIELD_UM: Vec3 = (130.0, 260.0, 260.0)
DEGREES = (10.0, 15.0)
N_LANDMARKS = 6
SHORTLIST = 10
LAYOUTS: tuple[Layout, ...] = ("spread", "plane", "corner")
# Landmarks in one plane or corner are drawn among so many nearest to it.
_NEAREST = {"plane": 15, "corner": 12}


class TiltRow(BaseModel, frozen=True):
    """Retrieval with one error of the orientation, and one set of accepted pairs."""

    turn: str = Field(description="tilt about an axis in the image plane, or rotation in it")
    degrees: float = Field(description="Error of the stated orientation, beside the level's own.")
    landmarks: str = Field(description='Where the pairs lie; "all" for none, no cell left out.')
    n_queries: int = Field(description="Cells of all scenes but those of the pairs.")
    oriented: dict[str, float] = Field(description='Top "1", "5", "10" in the index\'s frame.')
    aligned: dict[str, float] | None = Field(description="The same, all re-cut.")
    shortlist_top1: float | None = Field(
        description="Top-1 when only the index's best ten are re-cut."
    )


class TiltParameters(ModelParameters):
    """Scenes, and by how much their orientation is wrong."""

    level: Level = "paper"
    seeds: Seeds = TEST_SEEDS
    degrees: tuple[float, ...] = Field(
        DEGREES, description="Error of the orientation; repeat it for more."
    )


class TiltBenchmark(BenchmarkResult):
    """Top-k of a model in the frames of a wrong orientation and of an alignment."""

    model: str = Field(description="Name and hash of the encoder.")
    level: str = Field(description="Difficulty of the simulation.")
    seeds: tuple[int, ...] = Field(description="One scene each.")
    n_landmarks: int = Field(description="Accepted pairs that the alignment is fitted to.")
    results: tuple[TiltRow, ...]

    def summary(self) -> str:
        """Return a table."""
        rows = [
            (
                f"{row.turn} {row.degrees:g}°",
                row.landmarks,
                row.n_queries,
                row.oriented["1"],
                None if row.aligned is None else row.aligned["1"],
                row.shortlist_top1,
                row.oriented["5"],
                None if row.aligned is None else row.aligned["5"],
            )
            for row in self.results
        ]
        header = ("orientation off by", "pairs", "queries", "top-1", "re-cut", "best ten re-cut")
        return text_table((*header, "top-5", "top-5 re-cut"), rows)


def benchmark_tilt(
    encoder: Encoder,
    parameters: TiltParameters | None = None,
    *,
    size_um: Vec3 = FIELD_UM,
    report: Report | None = None,
) -> TiltBenchmark:
    """Rank the 53 innermost cells of scenes whose orientation was stated wrongly.

    The fMOST crops are cut out of its volume, first as the wrong orientation says, then in the
    frame of the alignment that `fit_alignment` makes of six accepted pairs and the wrong
    orientation. Cells of the pairs are asked about no more. All centres are off by the level's
    error of placing, those of the pairs too.

    Parameters
    ----------
    encoder : Encoder
        The model to test.
    parameters : TiltParameters, optional
        The rotation, tilt and scales that the level leaves between the two sides are there at
        0° as well, which comes first in any case; the other errors are each to a random side.
    size_um : Vec3
        Of the two-photon volume.
    report : callable, optional
        Called as ``report(done, total, message)``; may raise to cancel.

    Raises
    ------
    InputError
        If no seed is given, or the level is unknown.
    """
    parameters = parameters or TiltParameters()
    seeds, level = parameters.seeds, parameters.level
    if not seeds:
        raise InputError("the benchmark needs at least one scene; give at least one seed")
    tell = report or (lambda done, total, message: None)
    turns: list[tuple[Turn, float]] = [("tilt", 0.0)]
    turns += [
        (turn, angle) for angle in parameters.degrees if angle for turn in ("tilt", "rotation")
    ]
    found: dict[tuple[str, float, str], list[_Ranks]] = {}
    for done, seed in enumerate(seeds):
        tell(done, len(seeds), f"scene {seed}")
        with TemporaryDirectory(prefix="neurobridge-benchmark-") as folder:
            scene = _Scene.simulated(Path(folder), seed, level, size_um, encoder)
            for number, (turn, angle) in enumerate(turns):
                rng = np.random.default_rng((seed, number))
                for layout, ranks in scene.turned(encoder, turn, angle, rng):
                    found.setdefault((turn, angle, layout), []).append(ranks)
                tell(done, len(seeds), f"scene {seed}, {turn} {angle:g}°")
    return TiltBenchmark(
        model=f"{encoder.name} {encoder.hash}",
        level=level,
        seeds=seeds,
        n_landmarks=N_LANDMARKS,
        results=tuple(_row(*key, parts) for key, parts in found.items()),
    )


def run(parameters: TiltParameters, *, report: Report | None = None) -> TiltBenchmark:
    """Answer the command line."""
    return benchmark_tilt(parameters.encoder(), parameters, report=report)


@dataclass(frozen=True, eq=False)
class _Ranks:
    """Rank of the partner of each query, from 1; aligned ones are None without landmarks."""

    oriented: npt.NDArray[np.int64]
    aligned: npt.NDArray[np.int64] | None = None
    shortlist: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class _Scene:
    """A simulated scene whose two-photon side has been looked at.

    Attributes
    ----------
    linear : ndarray, shape (3, 3)
        The orientation, but for what the level leaves to be found.
    here_um, there_um : ndarray, shape (N, 3)
        Cells that both sides show, in either space, not quite where they are.
    asked : ndarray, shape (Q,)
        Rows of those that are queries and gallery.
    queries : ndarray of float32, shape (Q, dim)
    fmost : Volume
    """

    linear: FloatArray
    here_um: FloatArray
    there_um: FloatArray
    asked: RowArray
    queries: Float32Array
    fmost: Volume

    @classmethod
    def simulated(
        cls, folder: Path, seed: int, level: str, size_um: Vec3, encoder: Encoder
    ) -> _Scene:
        files = simulate_scene(folder, seed=seed, size_um=size_um, level=level)
        known = known_places(pd.read_csv(files.truth), named_level(level).crops.centring_um, seed)
        both = np.flatnonzero(known.partner >= 0)
        here, there = known.queries_um[both], known.gallery_um[known.partner[both]]
        half = np.array(size_um) / 2
        asked = np.argsort(np.abs(here / half - 1).max(axis=1))[:EVALUATION_CELLS]
        seen = extract_crops(open_volume(files.two_photon, name="two_photon"), here[asked])
        fmost = open_volume(files.fmost, name="fmost")
        linear = files.orientation.linear()
        return cls(linear, here, there, asked, encoder.embed(seen), fmost)

    def turned(
        self, encoder: Encoder, turn: Turn, degrees: float, rng: np.random.Generator
    ) -> list[tuple[str, _Ranks]]:
        """Rank with an orientation that is off, without landmarks and with each layout."""
        stated = self.linear @ _turned(turn, degrees, rng.uniform(0, 2 * np.pi))
        index = self._similarity(encoder, CropFrame(stated))
        first = _ranks(index)
        rows: list[tuple[str, _Ranks]] = [("all", _Ranks(first))]
        for layout in LAYOUTS:
            pairs = draw_landmarks(self.here_um, layout, rng)
            alignment = fit_alignment(
                Landmarks(self.here_um[pairs], self.there_um[pairs]), orientation=stated
            )
            again = self._similarity(encoder, CropFrame(stated, alignment))
            asked = ~np.isin(self.asked, pairs)
            listed = index >= np.sort(index, axis=1)[:, -min(SHORTLIST, len(index)), None]
            short = _ranks(np.where(listed, again, -np.inf))
            # A partner that the index does not list cannot come first.
            short = np.where(first <= SHORTLIST, short, first)
            rows.append((layout, _Ranks(first[asked], _ranks(again)[asked], short[asked])))
        return rows

    def _similarity(self, encoder: Encoder, frame: CropFrame) -> Float32Array:
        centers = self.there_um[self.asked]
        crops = extract_crops(self.fmost, centers, linear=frame.linears(centers))
        return np.asarray(self.queries @ encoder.embed(crops).T)


def draw_landmarks(places_um: FloatArray, layout: Layout, rng: np.random.Generator) -> RowArray:
    """Draw the rows of six of some places (N, 3): anywhere, in one plane, or in one corner.

    A plane is as thin as the fifteen cells nearest to a depth, a corner as wide as the twelve
    nearest to it.
    """
    if layout == "spread":
        return rng.choice(len(places_um), N_LANDMARKS, replace=False)
    low, high = places_um.min(axis=0), places_um.max(axis=0)
    if layout == "plane":
        distance = np.abs(places_um[:, 0] - rng.uniform(*np.quantile(places_um[:, 0], (0.3, 0.7))))
    else:
        distance = np.linalg.norm(places_um - np.where(rng.random(3) < 0.5, low, high), axis=1)
    near = np.argsort(distance)[: _NEAREST[layout]]
    return rng.choice(near, N_LANDMARKS, replace=False)


def _turned(turn: Turn, degrees: float, azimuth: float) -> FloatArray:
    """Return a rotation: about an axis in the image plane, or in it to the azimuth's side."""
    angle = np.deg2rad(degrees)
    if turn == "rotation":
        return plane_rotation(1, 2, angle if azimuth < np.pi else -angle)
    axis = plane_rotation(1, 2, azimuth)
    return axis @ plane_rotation(0, 1, angle) @ axis.T


def _ranks(similarity: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Return the rank of each row's own column."""
    return np.asarray((similarity > np.diag(similarity)[:, None]).sum(axis=1) + 1)


def _row(turn: str, degrees: float, layout: str, parts: Sequence[_Ranks]) -> TiltRow:
    oriented = np.concatenate([part.oriented for part in parts])
    aligned = [part.aligned for part in parts if part.aligned is not None]
    short = [part.shortlist for part in parts if part.shortlist is not None]
    return TiltRow(
        turn=turn,
        degrees=degrees,
        landmarks=layout,
        n_queries=len(oriented),
        oriented=top_k(oriented),
        aligned=top_k(np.concatenate(aligned)) if aligned else None,
        shortlist_top1=float((np.concatenate(short) == 1).mean()) if short else None,
    )
