"""``index`` and ``rank``: candidates for a queried soma."""

from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._options import ModelOption, ProjectArgument
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.types import Basis, Candidate, Ranking, Report, Vec3


class Indexed(CommandResult):
    """What one run of the index embedded, and what is there now."""

    n_embedded: int
    n_indexed: dict[str, int]
    model: str
    seconds: float
    n_damaged: int
    note: str

    def summary(self) -> str:
        """Return a sentence or two."""
        there = ", ".join(f"{count} of {name}" for name, count in self.n_indexed.items())
        damaged = ""
        if self.n_damaged:
            damaged = f" Files of the index that were damaged and are made anew: {self.n_damaged}."
        return (
            f"Embedded {self.n_embedded} somata with {self.model} in {self.seconds:.1f} s; "
            f"indexed: {there}.{damaged}{self.note and ' '}{self.note}"
        )


class CandidateRow(BaseModel):
    """One candidate; its position is µm in the gallery's space."""

    model_config = ConfigDict(frozen=True)

    rank: int
    uid: str
    z_um: float
    y_um: float
    x_um: float
    similarity: float | None
    residual_um: float | None
    probability: float | None
    in_set: bool | None

    @classmethod
    def of(cls, candidate: Candidate) -> "CandidateRow":
        """Flatten a candidate."""
        z_um, y_um, x_um = candidate.center_um
        return cls(
            rank=candidate.rank,
            uid=candidate.uid,
            z_um=z_um,
            y_um=y_um,
            x_um=x_um,
            similarity=candidate.similarity,
            residual_um=candidate.residual_um,
            probability=candidate.probability,
            in_set=candidate.in_set,
        )


class Ranked(CommandResult):
    """The answer to one query, best candidate first."""

    query_dataset: str
    query_uid: str | None
    query_um: Vec3
    gallery_dataset: str
    candidates: list[CandidateRow]
    p_none: float | None
    none_in_set: bool | None
    basis: Basis
    expected_um: Vec3 | None
    note: str
    model: str

    @classmethod
    def of(cls, ranking: Ranking, model_note: str = "") -> "Ranked":
        """Flatten a ranking, and say what there is to know of its model."""
        return cls(
            query_dataset=ranking.query_dataset,
            query_uid=ranking.query_uid,
            query_um=ranking.query_center_um,
            gallery_dataset=ranking.gallery_dataset,
            candidates=[CandidateRow.of(candidate) for candidate in ranking.candidates],
            p_none=ranking.p_none,
            none_in_set=ranking.none_in_set,
            basis=ranking.basis,
            expected_um=ranking.expected and ranking.expected.center_um,
            note=" ".join(filter(None, [ranking.note, model_note])),
            model=ranking.model,
        )

    def summary(self) -> str:
        """Return a table."""
        header = ("rank", "uid", "z_um", "y_um", "x_um", "similarity", "residual_um", "probability")
        rows = [[getattr(row, name) for name in header] for row in self.candidates]
        none = [] if self.p_none is None else [f"none of these: {self.p_none:.3f}"]
        return "\n".join([text_table(header, rows), *none, *filter(None, [self.note])])


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "index")(index)
    command(app, "rank")(rank)


def index(project: ProjectArgument, *, model: ModelOption = None, report: Report) -> Indexed:
    """Embed all somata that are not yet embedded."""
    from napari_neurobridge.models.current import current_model
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows.index import build_index

    opened = Project.open(project)
    result = build_index(opened, model, report=report)
    return Indexed(
        n_embedded=result.n_embedded,
        n_indexed=result.n_indexed,
        model=result.model,
        seconds=result.seconds,
        n_damaged=result.n_damaged,
        note=current_model(opened).note if model is None else "",
    )


def rank(
    project: ProjectArgument,
    *,
    uid: Annotated[str | None, typer.Option("--uid", help="The queried soma.")] = None,
    at: Annotated[
        Vec3 | None,
        typer.Option("--at", metavar="Z Y X", help="A bare position in µm; it is not snapped."),
    ] = None,
    in_dataset: Annotated[
        str | None,
        typer.Option("--in", help="Whose space --at is in; the two-photon one unless given."),
    ] = None,
    gallery: Annotated[
        str | None,
        typer.Option("--gallery", help="Where to search; the other microscope unless given."),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many candidates.")] = 10,
    model: ModelOption = None,
) -> Ranked:
    """Rank candidates for a soma or a position."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows.rank import rank_cell

    if (uid is None) == (at is None):
        raise InputError("Give either --uid or --at Z Y X, to say which cell is meant.")
    if uid is not None and in_dataset is not None:
        raise InputError("--in belongs to --at; a uid names its dataset itself.")
    found = rank_cell(
        Project.open(project), uid, k, at_um=at, dataset=in_dataset, gallery=gallery, model=model
    )
    return Ranked.of(found.ranking, model_note=found.model_note)
