"""Verdicts given many at a time: read from a table, and recorded in order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import NoneReason, Verdict
from napari_neurobridge.workflows.pair_tables import read_pair_table
from napari_neurobridge.workflows.setup import named_uid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.io.tables import Table
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.events import Event
    from napari_neurobridge.project.log.fold import State


@dataclass(frozen=True)
class Judgement:
    """One verdict to record.

    Attributes
    ----------
    candidate_uid : str or None
        ``None`` for `Verdict.NONE` only.
    reason : NoneReason or None
        Why there is no candidate.
    """

    verdict: Verdict
    query_uid: str
    candidate_uid: str | None = None
    reason: NoneReason | None = None


def read_judgements(project: Project, path: Path) -> list[Judgement]:
    """Read verdicts from a table of pairs, see `read_pair_table`, with a column ``verdict``.

    Parameters
    ----------
    project : Project
    path : Path
        Rows without a verdict are accepted pairs; further columns are ignored.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or a row is not valid.
    """
    found = read_pair_table(project, path)
    table = found.table
    verdicts = table.text("verdict") if "verdict" in table else [""] * len(table.rows)
    return [
        Judgement(_verdict(table, row, said), first, second)
        for row, (said, (first, second)) in enumerate(zip(verdicts, found.pairs, strict=True))
    ]


def _verdict(table: Table, row: int, said: str) -> Verdict:
    said = said or Verdict.ACCEPT
    if said not in (Verdict.ACCEPT, Verdict.REJECT, Verdict.UNSURE):
        raise table.refusal(row, f"says '{said}'; a verdict is accept, reject or unsure")
    return Verdict(said)


def judge_all(
    project: Project,
    judgements: Sequence[Judgement],
    *,
    annotator: str | None = None,
    force: bool = False,
) -> list[Event]:
    """Record verdicts in order, each durable before the next.

    Raises
    ------
    InputError
        If a soma does not live; nothing is recorded then.
    InvalidActionError
        If a verdict contradicts what is recorded and ``force`` is not set; the verdicts
        before it stand.
    """
    state = project.state()
    judgements = [_named(project, state, judgement) for judgement in judgements]
    for judgement in judgements:
        state.living_soma(judgement.query_uid)
        if judgement.candidate_uid is not None:
            state.living_soma(judgement.candidate_uid)
    return [
        event
        for judgement in judgements
        for event in _judge(project, judgement, annotator=annotator, force=force)
    ]


def _named(project: Project, state: State, judgement: Judgement) -> Judgement:
    candidate = judgement.candidate_uid
    return replace(
        judgement,
        query_uid=named_uid(state, project.in_vivo(), judgement.query_uid),
        candidate_uid=candidate and named_uid(state, project.ex_vivo(), candidate),
    )


def _judge(
    project: Project, judgement: Judgement, *, annotator: str | None, force: bool
) -> list[Event]:
    query, candidate = judgement.query_uid, judgement.candidate_uid
    if candidate is None:
        return annotate.none(project, query, judgement.reason, annotator=annotator)
    if judgement.verdict is Verdict.ACCEPT:
        return annotate.accept(project, query, candidate, annotator=annotator, force=force)
    judge = annotate.reject if judgement.verdict is Verdict.REJECT else annotate.unsure
    return judge(project, query, candidate, annotator=annotator)
