"""``match`` and ``queue``: all cells at once, and whom to ask next."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.active.queue import BY_MATCH, QueueStrategy
from napari_neurobridge.cli._options import ModelOption, ProjectArgument
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.types import DEFAULT_FDR, Report

if TYPE_CHECKING:
    from napari_neurobridge.matching.decoys import DecoyCheck
    from napari_neurobridge.matching.match import Match

ImagesOption = Annotated[
    bool,
    typer.Option("--images/--no-images", help="Use what the crops say where there is an index."),
]


class ReviewRow(BaseModel):
    """An accepted pair to look at again."""

    model_config = ConfigDict(frozen=True)

    two_photon_uid: str
    fmost_uid: str
    p_wrong: float
    residual_um: float


class DecoyRow(BaseModel):
    """How many cells match where no partner is, in the worst of several decoys."""

    model_config = ConfigDict(frozen=True)

    n_claimed: int
    n_asked: int
    decoy: str
    judging: str
    n_decoys: int
    text: str
    all: list[dict[str, str | int]]

    @classmethod
    def of(cls, check: "DecoyCheck") -> "DecoyRow":
        """Take a check."""
        return cls(
            n_claimed=check.n_claimed,
            n_asked=check.n_asked,
            decoy=check.worst.decoy,
            judging=check.worst.judging,
            n_decoys=check.n_decoys,
            text=check.in_words(),
            all=[asdict(row) for row in check.claims],
        )


class AgreementRow(BaseModel):
    """In how many cells pictures and places, each by itself, name the same partner."""

    model_config = ConfigDict(frozen=True)

    n_agree: int
    n_both: int
    by_chance: float
    text: str


class Matched(CommandResult):
    """What may be claimed."""

    n_matched: int
    n_accepted: int
    expected_false: float
    pairs: str
    p_partner: float
    used_images: bool
    calibrated_on: str
    decoys: DecoyRow | None
    agreement: AgreementRow | None
    review: list[ReviewRow]
    model: str
    notes: list[str]

    def summary(self) -> str:
        """Return sentences."""
        proposed = self.n_matched - self.n_accepted
        decoys = ""
        if self.decoys is not None and self.decoys.n_asked:
            decoys = f"\nDecoy check: {self.decoys.text}."
        return "\n".join(
            [
                f"{self.n_matched} pairs: {self.n_accepted} accepted and {proposed} matched, "
                f"about {self.expected_false:.1f} of which are expected to be wrong.{decoys}",
                *([] if self.agreement is None else [self.agreement.text]),
                f"Written to {self.pairs}.",
                *self.notes,
            ]
        )


class QueueRow(BaseModel):
    """One question."""

    model_config = ConfigDict(frozen=True)

    uid: str
    uncertainty: float | None
    reason: str
    audit: bool


class Queued(CommandResult):
    """Whom to ask next, first question first."""

    queue: list[QueueRow]
    n_waiting: int

    def summary(self) -> str:
        """Return a table."""
        header = ("uid", "uncertainty", "reason", "audit")
        return text_table(header, [[getattr(row, name) for name in header] for row in self.queue])


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "match")(match)
    command(app, "queue")(queue)


def match(
    project: ProjectArgument,
    *,
    fdr: Annotated[
        float, typer.Option("--fdr", help="Share of the claimed pairs that may be wrong.")
    ] = DEFAULT_FDR,
    out: Annotated[
        Path | None, typer.Option("--out", help="CSV to write; in the project unless given.")
    ] = None,
    decoys: Annotated[
        bool,
        typer.Option(
            "--decoys/--no-decoys",
            help="Shift, mirror and turn the somata of one side, each time count the cells that "
            "still match, and report the worst; takes about six times as long as the match.",
        ),
    ] = True,
    images: ImagesOption = True,
    model: ModelOption = None,
    report: Report,
) -> Matched:
    """Match all cells at once, from the accepted pairs outward."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows import match as matching
    from napari_neurobridge.workflows.index import ranking_model

    opened = Project.open(project)
    found = matching.match_all(opened, model, images=images, report=report)
    claims = matching.Claims.of(found, fdr)
    model_note = ranking_model(opened).note if images and model is None else ""
    check = found.decoys(fdr, report=report) if decoys else None
    return Matched(
        n_matched=len(claims.pairs),
        n_accepted=claims.n_accepted,
        expected_false=claims.expected_false,
        pairs=str(matching.write_claims(opened, claims, out)),
        p_partner=found.propagation.mean_p_partner,
        used_images=found.appearance is not None,
        calibrated_on=found.calibration.source,
        decoys=check and DecoyRow.of(check),
        agreement=_agreement(found),
        review=[
            ReviewRow(
                two_photon_uid=pair.in_vivo_uid,
                fmost_uid=pair.ex_vivo_uid,
                p_wrong=pair.p_wrong,
                residual_um=pair.residual_um,
            )
            for pair in found.review()
        ],
        model=found.model,
        notes=[*found.notes, *filter(None, [model_note])],
    )


def _agreement(found: "Match") -> AgreementRow | None:
    witnesses = found.agreement
    if witnesses is None:
        return None
    return AgreementRow(
        n_agree=witnesses.n_agree,
        n_both=witnesses.n_both,
        by_chance=witnesses.by_chance,
        text=str(witnesses),
    )


def queue(
    project: ProjectArgument,
    *,
    strategy: Annotated[
        QueueStrategy | None,
        typer.Option(
            "--strategy",
            help="By default clearest, then spread until four pairs are accepted, then entropy.",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many questions.")] = 10,
    images: ImagesOption = True,
    model: ModelOption = None,
) -> Queued:
    """List the cells that a person should be asked about next."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows import match as matching

    opened = Project.open(project)
    found = None
    strategy = strategy or matching.strategy_now(opened)
    if strategy in BY_MATCH:
        found = matching.match_all(opened, model, images=images)
    items = matching.questions_of(opened, found, strategy)
    return Queued(
        queue=[
            QueueRow(
                uid=item.uid, uncertainty=item.uncertainty, reason=item.reason, audit=item.audit
            )
            for item in items[:n]
        ],
        n_waiting=len(items),
    )
