"""The part of ``benchmark`` that is about starting without any landmark."""

from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._options import LevelOption
from napari_neurobridge.cli._output import CommandResult, command, table
from napari_neurobridge.types import Report


class ConstellationRow(BaseModel):
    """One field; see `benchmarks.constellation.ConstellationTrial`."""

    model_config = ConfigDict(frozen=True)

    seed: int
    n_queries: int
    n_gallery: int
    n_matchable: int
    angle_deg: float
    known: bool
    right: float
    claims_right: float | None
    network_precision: float | None
    network_recall: float
    evidence: float
    decoy_evidence: float
    unrelated_known: bool
    seconds: float


class ConstellationFigures(CommandResult):
    """All fields; see `benchmarks.constellation.ConstellationBenchmark`."""

    model: str
    level: str
    missing: float
    angle_deg: float
    size_um: tuple[float, float, float]
    fields: int
    started_right: float
    unknown: float
    wrong_known: float
    unrelated_known: float
    right_mean: float
    network_precision: float
    network_recall: float
    seconds: float
    trials: list[ConstellationRow]

    def summary(self) -> str:
        """Return a table of the fields, and the shares."""
        header = tuple(ConstellationRow.model_fields)
        rows = [[getattr(row, name) for name in header] for row in self.trials]
        shares = (
            f"started right {self.started_right:.2f}, unknown {self.unknown:.2f}, "
            f"wrong though claimed {self.wrong_known:.2f}, "
            f"claimed in other tissue {self.unrelated_known:.2f}"
        )
        return f"{table(header, rows)}\n{shares}"


def register(benchmarks: typer.Typer) -> None:
    """Add this command to the group ``benchmark``."""
    command(benchmarks, "constellation")(constellation)


def constellation(
    *,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Matcher: a name or a folder; the bundled one unless given."),
    ] = None,
    level: LevelOption = "paper",
    fields: Annotated[int, typer.Option("--fields", min=1, help="How many scenes.")] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Of the first scene.")] = 5000,
    missing: Annotated[
        float, typer.Option("--missing", min=0, max=0.9, help="Share of cells a side lacks.")
    ] = 0.3,
    angle: Annotated[
        float, typer.Option("--angle", min=0, max=180, help="Largest error of the orientation.")
    ] = 30.0,
    size: Annotated[
        tuple[float, float, float],
        typer.Option("--size", metavar="Z Y X", help="Of the two-photon field, µm."),
    ] = (140.0, 350.0, 350.0),
    report: Report,
) -> ConstellationFigures:
    """Match held-out scenes from a rough orientation alone, without any landmark."""
    from napari_neurobridge.benchmarks.constellation import benchmark_constellation

    result = benchmark_constellation(
        fields=fields,
        seed=seed,
        level=level,
        missing=missing,
        angle_deg=angle,
        size_um=size,
        model=model,
        report=report,
    )
    return ConstellationFigures.model_validate(result.model_dump())
