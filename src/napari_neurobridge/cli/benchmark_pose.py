"""The part of ``benchmark`` that is about the angle found without labels."""

from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._options import LevelOption, ModelOption, SeedsOption
from napari_neurobridge.cli._output import CommandResult, command, table
from napari_neurobridge.types import Report

AnglesOption = Annotated[
    list[float] | None,
    typer.Option("--angle", help="By how much the field is turned, degrees; repeat it for more."),
]


class TurnedSceneFigures(BaseModel):
    """All scenes turned by one angle."""

    model_config = ConfigDict(frozen=True)

    turned_deg: float
    within: int
    unknown: int
    wrong: int
    largest_error_deg: float | None
    smallest_deviations: float
    top1_before: float
    top1_after: float


class PoseFigures(CommandResult):
    """Turned scenes; see `benchmarks.pose.PoseBenchmark`."""

    model: str
    level: str
    seeds: list[int]
    cells: int
    results: list[TurnedSceneFigures]
    unrelated: int
    unrelated_proposals: int
    unrelated_deviations: float | None

    def summary(self) -> str:
        """Return a table, and what was proposed where nothing is right."""
        header = tuple(TurnedSceneFigures.model_fields)
        rows = [[getattr(row, name) for name in header] for row in self.results]
        wrong = f"{self.unrelated_proposals} of {self.unrelated}"
        return f"{table(header, rows)}\nbetween unrelated scenes an angle was proposed in {wrong}"


class ProjectAngleFigures(BaseModel):
    """One project; see `benchmarks.pose_projects`."""

    model_config = ConfigDict(frozen=True)

    seed: int
    turned_deg: float
    error_deg: float | None
    deviations: float
    n_queries: int
    n_gallery: int


class PoseProjectFigures(CommandResult):
    """Suggested angles of whole projects."""

    model: str
    level: str
    results: list[ProjectAngleFigures]

    def summary(self) -> str:
        """Return a table."""
        header = tuple(ProjectAngleFigures.model_fields)
        return table(header, [[getattr(row, name) for name in header] for row in self.results])


def register(benchmarks: typer.Typer) -> None:
    """Add these commands to the group ``benchmark``."""
    command(benchmarks, "pose")(pose)
    command(benchmarks, "pose-projects")(pose_projects)


def pose(
    *,
    model: ModelOption = None,
    level: LevelOption = "paper",
    seed: SeedsOption = None,
    angle: AnglesOption = None,
    cells: Annotated[int, typer.Option("--cells", min=1, help="Cells of a scene.")] = 53,
    report: Report,
) -> PoseFigures:
    """Turn held-out scenes, find the angle without labels, and rank before and after."""
    from napari_neurobridge.benchmarks.pose import ANGLES_DEG, benchmark_pose
    from napari_neurobridge.benchmarks.robustness import TEST_SEEDS
    from napari_neurobridge.workflows.index import load_encoder

    result = benchmark_pose(
        load_encoder(None, model),
        seeds=seed or TEST_SEEDS,
        level=level,
        angles_deg=angle or ANGLES_DEG,
        cells=cells,
        report=report,
    )
    return PoseFigures.model_validate(result.model_dump())


def pose_projects(
    *,
    model: ModelOption = None,
    level: LevelOption = "paper",
    seed: SeedsOption = None,
    angle: AnglesOption = None,
    report: Report,
) -> PoseProjectFigures:
    """Simulate projects, detect, state a wrong angle, and have the right one suggested."""
    from napari_neurobridge.benchmarks.pose_projects import TEST_SEEDS, benchmark_pose_projects
    from napari_neurobridge.models.current import bundled_model

    rows = benchmark_pose_projects(
        model, seeds=seed or TEST_SEEDS, level=level, angles_deg=angle or (30.0,), report=report
    )
    return PoseProjectFigures.model_validate(
        {
            "model": model or bundled_model().name,
            "level": level,
            "results": [row.model_dump() for row in rows],
        }
    )
