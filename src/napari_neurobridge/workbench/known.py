"""What is already recorded about a question, in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_neurobridge.types import Verdict

if TYPE_CHECKING:
    from napari_neurobridge.project.log.fold import State

_MARKS = {Verdict.ACCEPT: "✓ accepted", Verdict.REJECT: "✗ rejected", Verdict.UNSURE: "? unsure"}


def verdict_on_query(state: State, uid: str | None) -> str:
    """Return what was decided about a soma, empty when nothing was."""
    if uid is None:
        return ""
    for pair in state.agreed:
        if uid in pair:
            partner = pair[1] if pair[0] == uid else pair[0]
            return f"accepted as {partner}"
    for pair in state.disputed:
        if uid in pair:
            return f"disputed: {pair[0]} ↔ {pair[1]}"
    if uid in state.none:
        reason = state.none[uid]
        return "has no partner" + (f" ({reason.replace('_', ' ')})" if reason else "")
    return ""


def marks_on_candidates(state: State, uid: str | None) -> dict[str, str]:
    """Return what was said about each candidate of a query, by the candidate's uid."""
    return {
        verdict.candidate_uid: _MARKS[verdict.verdict]
        for verdict in state.verdicts
        if verdict.query_uid == uid and verdict.candidate_uid is not None
    }
