"""From what a person wants to say to the verdicts that are written, or to why they cannot be."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import napari_neurobridge
from napari_neurobridge.errors import InputError, InvalidActionError
from napari_neurobridge.project.log.events import VerdictEvidence, VerdictGiven
from napari_neurobridge.types import NoneReason, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.fold import StandingVerdict, State
    from napari_neurobridge.types import Soma


@dataclass(frozen=True)
class Judgement:
    """One verdict to record.

    Attributes
    ----------
    candidate_uid : str or None
        ``None`` for `Verdict.NONE` only.
    reason : NoneReason or None
        Why there is no candidate.
    evidence : VerdictEvidence or None
        What the person saw.
    """

    verdict: Verdict
    query_uid: str
    candidate_uid: str | None = None
    reason: NoneReason | None = None
    evidence: VerdictEvidence | None = None


def verdicts_of(
    project: Project,
    state: State,
    judgements: Sequence[Judgement],
    *,
    force: bool = False,
    step: str | None = None,
) -> list[VerdictGiven]:
    """Return what to write; see `annotate.judge_together` for what is refused."""
    given = [_verdict_of(project, state, judgement, step) for judgement in judgements]
    accepted = [verdict for verdict in given if verdict.verdict is Verdict.ACCEPT]
    _refuse_two_partners(accepted)
    standing = _accepts_by_soma(state) if accepted else {}
    conflicts = {id(verdict): _conflicting_accepts(standing, verdict) for verdict in accepted}
    if not force:
        first = next((v for v in accepted if conflicts[id(v)]), None)
        if first is not None:
            raise _conflict_error(conflicts[id(first)], first)
    return [
        verdict.model_copy(
            update={"revokes": tuple(one.event_id for one in conflicts.get(id(verdict), ()))}
        )
        for verdict in given
    ]


def same_dataset(one: Soma, other: Soma) -> InputError:
    """Return the error that two somata of one dataset make no pair."""
    return InputError(
        f"'{one.uid}' and '{other.uid}' both lie in dataset '{one.dataset}'; a pair joins somata "
        "of two datasets."
    )


def _verdict_of(
    project: Project, state: State, judgement: Judgement, step: str | None
) -> VerdictGiven:
    """Make the payload of a verdict, refusing somata that do not live and pairs of one dataset."""
    query = state.living_soma(judgement.query_uid)
    named = judgement.candidate_uid
    candidate = None if named is None else state.living_soma(named)
    if candidate is not None and candidate.dataset == query.dataset:
        raise same_dataset(query, candidate)
    return VerdictGiven(
        verdict=judgement.verdict,
        query_uid=query.uid,
        query_dataset=query.dataset,
        query_role=project.dataset(query.dataset).role,
        candidate_uid=candidate and candidate.uid,
        candidate_dataset=candidate and candidate.dataset,
        candidate_role=candidate and project.dataset(candidate.dataset).role,
        reason=judgement.reason,
        step=step,
        evidence=judgement.evidence or VerdictEvidence(),
        software_version=napari_neurobridge.__version__,
    )


def _refuse_two_partners(accepted: Sequence[VerdictGiven]) -> None:
    """Refuse verdicts of one step that give a soma two partners in one dataset."""
    partners: dict[tuple[str, str | None], str] = {}
    for verdict in accepted:
        query, candidate = verdict.query_uid, str(verdict.candidate_uid)
        for uid, other, dataset in (
            (query, candidate, verdict.candidate_dataset),
            (candidate, query, verdict.query_dataset),
        ):
            known = partners.setdefault((uid, dataset), other)
            if known != other:
                raise InvalidActionError(
                    f"Cannot accept both {known} and {other} as {uid}; a cell has one partner."
                )


def _accepts_by_soma(state: State) -> dict[str, list[StandingVerdict]]:
    found: dict[str, list[StandingVerdict]] = defaultdict(list)
    for verdict in state.verdicts:
        if verdict.verdict is Verdict.ACCEPT:
            for uid in verdict.pair or ():
                found[uid].append(verdict)
    return found


def _conflicting_accepts(
    standing: Mapping[str, Sequence[StandingVerdict]], wanted: VerdictGiven
) -> list[StandingVerdict]:
    """Return accepted pairs of the same two datasets that share one soma, but not both."""
    uids = (wanted.query_uid, str(wanted.candidate_uid))
    datasets = {wanted.query_dataset, wanted.candidate_dataset}
    return [
        known
        for uid in uids
        for known in standing.get(uid, ())
        if {known.query_dataset, known.candidate_dataset} == datasets
        and set(known.pair or ()) != set(uids)
    ]


def _conflict_error(
    conflicts: Sequence[StandingVerdict], wanted: VerdictGiven
) -> InvalidActionError:
    first = conflicts[0]
    return InvalidActionError(
        f"Cannot accept {wanted.query_uid} ↔ {wanted.candidate_uid}: {first.annotator} already "
        f"accepted {first.query_uid} ↔ {first.candidate_uid}, and a cell has one partner; force "
        "it to set the earlier pair aside.",
        forceable=True,
    )
