"""Verdicts and notes as people name the somata: read from a table, and recorded in order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.judging import Judgement
from napari_neurobridge.types import Verdict
from napari_neurobridge.workflows.pair_tables import read_pair_table
from napari_neurobridge.workflows.setup import named_uid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.io.tables import Table
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.events import Event
    from napari_neurobridge.project.log.fold import State


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
