"""The whole job on two real volumes whose pairs of positions are known."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from napari_neurobridge.benchmarks.contract import BenchmarkResult, ModelParameters
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tables import read_table
from napari_neurobridge.matching.appearance.gallery import index_project
from napari_neurobridge.matching.ranking import rank_position
from napari_neurobridge.types import Role
from napari_neurobridge.workflows.detect import detect_dataset
from napari_neurobridge.workflows.setup import DatasetSource, create_project

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.types import Ranking, Report


SAME_CELL_UM = 6.0
"""Silver positions are whole voxels and were found by patch correlation, not clicked."""

_KS = (1, 10, 50)


class SilverVolumes(ModelParameters):
    """Two volumes of the same tissue, and a model to compare them by."""

    two_photon: Path = Field(
        description="First volume.", json_schema_extra={"argument": True, "metavar": "FIRST"}
    )
    fmost: Path = Field(
        description="Second volume, the gallery.",
        json_schema_extra={"argument": True, "metavar": "SECOND"},
    )
    pairs: Path = Field(
        description="Matching positions, z_um,y_um,x_um of each.",
        json_schema_extra={"argument": True, "metavar": "PAIRS.csv"},
    )


class SilverPairsParameters(SilverVolumes):
    """Positions to ask."""

    n: int = Field(50, description="How many positions to ask.", json_schema_extra={"option": "n"})
    seed: int = Field(0, description="Draws the positions.")


class SilverPairsBenchmark(BenchmarkResult):
    """How often the partner of a known position is among the first candidates."""

    model: str = Field(description="Name and hash of the encoder.")
    n_queries: int = Field(description="Positions asked, drawn at random from the table.")
    n_gallery: int = Field(description="Somata detected in the second volume, all candidates.")
    n_detected: int = Field(
        description=f"Queries whose partner was detected within {SAME_CELL_UM:g} µm at all."
    )
    topk: dict[str, float] = Field(
        description='Share of all queries with the partner in the first "1", "10", "50"; '
        "an undetected partner counts as missed."
    )
    chance: dict[str, float] = Field(description="The same for a random order.")


def benchmark_silver_pairs(
    encoder: Encoder,
    parameters: SilverPairsParameters,
    *,
    folder: Path,
    report: Report | None = None,
) -> SilverPairsBenchmark:
    """Make a project of two volumes, detect, index, and rank at known positions.

    Parameters
    ----------
    encoder : Encoder
    parameters : SilverPairsParameters
        The first volume plays the two-photon side; all positions are asked if there are
        fewer than it says. For the table see `read_silver_pairs`.
    folder : Path
        Where the project is made; must not exist.
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    tell = report or (lambda done, total, message: None)
    here_um, there_um = read_silver_pairs(parameters.pairs)
    project = create_project(
        folder,
        [
            DatasetSource(name="two_photon", role=Role.IN_VIVO, image=parameters.two_photon),
            DatasetSource(name="fmost", role=Role.EX_VIVO, image=parameters.fmost),
        ],
    )
    for name in project.datasets:
        detect_dataset(project, name, report=report)
    index_project(project, encoder, report=report)

    drawn = np.random.default_rng(parameters.seed).permutation(len(here_um))[: parameters.n]
    gallery = list(project.state().somata["fmost"].values())
    ranks = []
    for done, row in enumerate(drawn):
        tell(done, len(drawn), "ranking known positions")
        z, y, x = here_um[row].tolist()
        ranking = rank_position(project, encoder, (z, y, x), "two_photon", k=len(gallery))
        ranks.append(_partner_rank(ranking, there_um[row]))
    known = np.array([np.inf if rank is None else rank for rank in ranks])
    project.close()
    return SilverPairsBenchmark(
        model=f"{encoder.name}@{encoder.hash}",
        n_queries=len(drawn),
        n_gallery=len(gallery),
        n_detected=int(np.isfinite(known).sum()),
        topk={str(k): float((known <= k).mean()) for k in _KS},
        chance={str(k): min(1.0, k / len(gallery)) for k in _KS},
    )


def run(parameters: SilverPairsParameters, *, report: Report | None = None) -> SilverPairsBenchmark:
    """Answer the command line."""
    encoder = parameters.encoder()
    with TemporaryDirectory(prefix="neurobridge-benchmark-") as folder:
        project = Path(folder) / "real.neurobridge"
        return benchmark_silver_pairs(encoder, parameters, folder=project, report=report)


def _partner_rank(ranking: Ranking, partner_um: npt.NDArray[np.float64]) -> int | None:
    """Return the rank of the soma nearest to the partner; None when none is near."""
    centers = np.array([candidate.center_um for candidate in ranking.candidates])
    distances = np.linalg.norm(centers - partner_um, axis=1)
    nearest = int(distances.argmin())
    return ranking.candidates[nearest].rank if distances[nearest] <= SAME_CELL_UM else None


def read_silver_pairs(
    path: Path,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Read a CSV of matching positions, µm: (N, 3) of the first and of the second volume.

    It has three columns ``*_z_um,*_y_um,*_x_um`` of the first volume, then three of the
    second.

    Raises
    ------
    InputError
        If the file cannot be read, or has other columns.
    """
    table = read_table(path, what="table of pairs")
    columns = [name for name in table.columns if name.endswith(("z_um", "y_um", "x_um"))]
    if len(columns) != 6:
        raise InputError(
            f"{path} needs six columns, z_um, y_um, x_um of the first and of the second volume."
        )
    return table.numbers(columns[:3]), table.numbers(columns[3:])
