"""Verdicts given many at a time: read from a table, and recorded in order."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import NoneReason, Verdict
from napari_neurobridge.workflows.setup import named_uid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

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


def read_judgements(path: Path) -> list[Judgement]:
    """Read verdicts from a CSV ``two_photon_uid,fmost_uid[,verdict]``.

    Parameters
    ----------
    path : Path
        Rows without a verdict are accepted pairs; further columns are ignored.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or a row is not valid.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Cannot read the pairs in {path}: {error}.") from error
    if not rows:
        raise InputError(f"{path} holds no pairs; it needs two_photon_uid,fmost_uid and rows.")
    return [_judgement(row, f"{path}, row {number}") for number, row in enumerate(rows, start=1)]


def _judgement(row: Mapping[str, str | None], where: str) -> Judgement:
    first, second = row.get("two_photon_uid"), row.get("fmost_uid")
    verdict = row.get("verdict") or Verdict.ACCEPT
    if not first or not second:
        raise InputError(f"{where} lacks a two_photon_uid or fmost_uid; name both somata.")
    if verdict not in (Verdict.ACCEPT, Verdict.REJECT, Verdict.UNSURE):
        raise InputError(f"{where} says '{verdict}'; a verdict is accept, reject or unsure.")
    return Judgement(Verdict(verdict), first, second)


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
