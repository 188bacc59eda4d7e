"""``annotate``: verdicts and notes, one event each."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict
from typer.core import TyperCommand

from napari_neurobridge.cli._options import AnnotatorOption, ProjectArgument
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.errors import InputError
from napari_neurobridge.types import NoneReason, Verdict

if TYPE_CHECKING:
    from napari_neurobridge.project.log.events import Event

_PAIR_OPTIONS = ("--accept", "--reject", "--unsure")
_NOTE_OPTION = "--note"
_ONE_CELL = "-"
# Joins the values of an option on their way through the parser; no uid contains it.
_JOINT = "\x1f"


class _PairsCommand(TyperCommand):
    """A command with repeatable options that take several values each, which typer has not."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _joined(args))


def _joined(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the values of each option that takes several made one."""
    joined, waiting = [], list(arguments)
    while waiting:
        argument = waiting.pop(0)
        option, equals, first = argument.partition("=")
        if option not in (*_PAIR_OPTIONS, _NOTE_OPTION):
            joined.append(argument)
            continue
        n_values, text = (3, ", and a text") if option == _NOTE_OPTION else (2, "")
        waiting = [first, *waiting] if equals else waiting
        values, waiting = waiting[:n_values], waiting[n_values:]
        if len(values) < n_values or any(uid.startswith("--") for uid in values):
            raise InputError(f"{option} needs two uids, a two-photon and an fMOST one{text}.")
        joined += [option, _JOINT.join(values)]
    return joined


class EventRow(BaseModel):
    """One event of the project's log."""

    model_config = ConfigDict(frozen=True)

    id: str
    time: str
    annotator: str
    sequence: int
    kind: str
    payload: dict[str, Any]

    @classmethod
    def of(cls, event: "Event") -> "EventRow":
        """Describe an event as it was written."""
        return cls(
            id=event.id,
            time=event.time,
            annotator=event.annotator,
            sequence=event.sequence,
            kind=str(event.kind),
            payload=dict(event.payload),
        )


class EventsMade(CommandResult):
    """The events that were appended, in order."""

    events: list[EventRow]

    def summary(self) -> str:
        """Return one line for each event."""
        return "\n".join(f"{event.kind} {event.id}" for event in self.events)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "annotate", cls=_PairsCommand)(annotate)


PairsOption = Annotated[list[str] | None, typer.Option(metavar="TP FM", help="May be repeated.")]


def annotate(
    project: ProjectArgument,
    *,
    accept: PairsOption = None,
    reject: PairsOption = None,
    unsure: PairsOption = None,
    none: Annotated[
        list[str] | None,
        typer.Option("--none", metavar="TP", help="No candidate is this cell. May be repeated."),
    ] = None,
    reason: Annotated[
        NoneReason | None, typer.Option("--reason", help="Why no candidate is the cell.")
    ] = None,
    from_file: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="CSV two_photon_uid,fmost_uid[,verdict], or places in µm (two_photon_z_um, …) "
            "within 3 µm of somata; accepts by default.",
        ),
    ] = None,
    notes: Annotated[
        list[str] | None,
        typer.Option(
            "--note",
            metavar="TP FM TEXT",
            help="Write a note on a pair, in place of your last; FM is - for one cell alone. May "
            "be repeated.",
        ),
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take back your last event of any kind.")
    ] = False,
    redo: Annotated[bool, typer.Option("--redo", help="Make it again.")] = False,
    revert: Annotated[
        str | None,
        typer.Option("--revert", metavar="EVENT", help="Take back one of your earlier events."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Accept although a cell has another partner.")
    ] = False,
    annotator: AnnotatorOption = None,
) -> EventsMade:
    """Record verdicts and notes, or take one back."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log import annotate as verdicts
    from napari_neurobridge.project.log.judging import Judgement
    from napari_neurobridge.workflows.judgements import judge_all, read_judgements, write_note

    judgements = [
        Judgement(verdict, first, second)
        for verdict, pairs in (
            (Verdict.ACCEPT, accept),
            (Verdict.REJECT, reject),
            (Verdict.UNSURE, unsure),
        )
        for first, second in (pair.split(_JOINT) for pair in pairs or ())
    ]
    judgements += [Judgement(Verdict.NONE, uid, reason=reason) for uid in none or ()]
    given = bool(judgements or notes) or from_file is not None
    if sum((given, undo, redo, revert is not None)) != 1:
        raise InputError("Give verdicts or notes, or one of --undo, --redo and --revert.")
    if reason is not None and not none:
        raise InputError("--reason belongs to --none.")
    opened = Project.open(project)
    if from_file is not None:
        judgements += read_judgements(opened, from_file)
    if undo:
        events = verdicts.undo(opened, annotator)
    elif redo:
        events = verdicts.redo(opened, annotator)
    elif revert is not None:
        events = verdicts.revert(opened, revert, annotator=annotator)
    else:
        events = judge_all(opened, judgements, annotator=annotator, force=force)
        for first, second, text in (note.split(_JOINT) for note in notes or ()):
            partner = None if second == _ONE_CELL else second
            events += write_note(opened, first, partner, text, annotator=annotator)
    return EventsMade(events=[EventRow.of(event) for event in events])
