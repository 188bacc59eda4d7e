"""Verdicts and notes as people name the somata: read from a table, and recorded in order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tables import read_table
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.judging import Judgement
from napari_neurobridge.types import Verdict
from napari_neurobridge.workflows.setup import named_uid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.io.tables import Table
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.events import Event
    from napari_neurobridge.project.log.fold import State


_PAIR_COLUMNS = ("two_photon_uid", "fmost_uid")


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
    table = read_table(path, what="table of pairs")
    for column in _PAIR_COLUMNS:
        if column not in table:
            raise InputError(
                f"{path} lacks the column {column}; a table of pairs has the columns "
                "two_photon_uid,fmost_uid."
            )
    verdicts = table.text("verdict") if "verdict" in table else [""] * len(table.rows)
    rows = zip(*map(table.text, _PAIR_COLUMNS), verdicts, strict=True)
    return [_judgement(table, number, *row) for number, row in enumerate(rows)]


def _judgement(table: Table, number: int, first: str, second: str, verdict: str) -> Judgement:
    if not first or not second:
        raise table.refusal(number, "lacks a two_photon_uid or fmost_uid; name both somata")
    verdict = verdict or Verdict.ACCEPT
    if verdict not in (Verdict.ACCEPT, Verdict.REJECT, Verdict.UNSURE):
        raise table.refusal(number, f"says '{verdict}'; a verdict is accept, reject or unsure")
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
        for event in annotate.judge_together(project, [judgement], annotator=annotator, force=force)
    ]


def write_note(
    project: Project,
    two_photon_uid: str,
    fmost_uid: str | None,
    text: str,
    *,
    annotator: str | None = None,
) -> list[Event]:
    """Write a note on a pair, or on one cell; see `annotate.note`."""
    state = project.state()
    uid = named_uid(state, project.in_vivo(), two_photon_uid)
    partner = fmost_uid and named_uid(state, project.ex_vivo(), fmost_uid)
    return annotate.note(project, uid, partner, text, annotator=annotator)


def _named(project: Project, state: State, judgement: Judgement) -> Judgement:
    candidate = judgement.candidate_uid
    return replace(
        judgement,
        query_uid=named_uid(state, project.in_vivo(), judgement.query_uid),
        candidate_uid=candidate and named_uid(state, project.ex_vivo(), candidate),
    )
