"""Other programs' assignments of cells, as claims to review."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.tracking import CountedRows, TrackedCells, read_tracking
from napari_neurobridge.project.log.claims import ClaimsImported
from napari_neurobridge.project.log.events import default_annotator
from napari_neurobridge.project.log.soma_events import SomaAdded
from napari_neurobridge.types import Role, Verdict
from napari_neurobridge.workflows.pair_tables import read_pair_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.claims import ImportedClaim
    from napari_neurobridge.project.log.fold import State


class ClaimStatus(StrEnum):
    """What people have said about a claim so far."""

    WAITING = "waiting"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNSURE = "unsure"
    CONTRADICTED = "contradicted"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class ReviewedClaim:
    """A claim and where its review stands.

    ``CONTRADICTED``: a cell of it has another accepted partner, or was found without one;
    ``GONE``: a soma was removed.
    """

    claim: ImportedClaim
    status: ClaimStatus


@dataclass(frozen=True)
class ImportedMatches:
    """What an import of assignments did.

    Attributes
    ----------
    program : str
    datasets : (str, str)
    n_claims : int
    n_left_out : int
        Cells that both sessions show, of which a side is not among the project's somata.
    """

    program: str
    datasets: tuple[str, str]
    n_claims: int
    n_left_out: int


def import_matches(
    project: Project,
    path: Path,
    sessions: Mapping[str, int] | None = None,
    *,
    counted: CountedRows | None = None,
    annotator: str | None = None,
) -> ImportedMatches:
    """Import assignments of CellReg, ROICaT, Track2p or a table of uids as claims to review.

    Parameters
    ----------
    project : Project
        ROIs of both sessions were imported before.
    path : Path
    sessions : mapping of str to int, optional
        Session of each of two datasets, from 0; for a table it is not needed.
    counted : CountedRows, optional
        Which ROIs the file's numbers count, where it does not say so.
    annotator : str, optional

    Raises
    ------
    InputError
        If the file cannot be read, a dataset or session is unknown, or it is not known which
        somata its numbers mean.
    """
    if path.suffix.lower() == ".csv":
        table = read_pair_table(project, path)
        program, names, pairs = "table", list(table.datasets), table.pairs
        scores, n_shown = table.scores, len(pairs)
    else:
        program, names, pairs, scores, n_shown = _from_tracking(project, path, sessions, counted)
    if not pairs:
        raise InputError(f"{path} holds no cell of which both sides are among the somata.")
    roles = [project.dataset(name).role for name in names]
    if (roles[0] is Role.EX_VIVO, names[0]) > (roles[1] is Role.EX_VIVO, names[1]):
        names, roles, pairs = names[::-1], roles[::-1], [(b, a) for a, b in pairs]
    claims = ClaimsImported(
        program=program,
        file=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        datasets=(names[0], names[1]),
        roles=(roles[0], roles[1]),
        uids=pairs,
        scores=scores if any(score is not None for score in scores) else None,
    )
    project.record(annotator or default_annotator(), lambda _state: [claims])
    return ImportedMatches(program, claims.datasets, len(pairs), n_shown - len(pairs))


def _from_tracking(
    project: Project,
    path: Path,
    sessions: Mapping[str, int] | None,
    counted: CountedRows | None,
) -> tuple[str, list[str], list[tuple[str, str]], list[float | None], int]:
    tracked = read_tracking(path)
    if sessions is None or len(sessions) != 2:
        raise InputError(
            f"{path} is about sessions; which of them two of the datasets are is not known.",
            kind=ErrorKind.NO_SESSION,
        )
    names = list(sessions)
    found, scores = tracked.pairs(*(sessions[name] for name in names))
    sides = [_uids_by_number(project, name, tracked, counted) for name in names]
    claimed = [
        (sides[0][a], sides[1][b], score)
        for (a, b), score in zip(found.tolist(), scores, strict=True)
        if a in sides[0] and b in sides[1]
    ]
    pairs = [(a, b) for a, b, _ in claimed]
    return tracked.program, names, pairs, [score for _, _, score in claimed], len(found)


def _uids_by_number(
    project: Project, dataset: str, tracked: TrackedCells, counted: CountedRows | None
) -> dict[int, str]:
    """Return the uid of each ROI of a dataset, by the number that a program gives it."""
    added = _import_of(project, dataset, tracked)
    assert added.origin is not None
    kept = dict(enumerate(added.uids))
    if len(added.uids) < added.origin.n_in_file:
        rule = counted or tracked.counted
        if rule is None:
            raise InputError(
                f"{tracked.path} numbers cells, and of the {added.origin.n_in_file} ROIs of "
                f"'{dataset}' {len(added.uids)} were kept; whether it numbers all of them or those "
                "is not known.",
                kind=ErrorKind.UNKNOWN_ROWS,
            )
        if rule is CountedRows.FILE:
            kept = {i: uid for i, uid in _by_index(added).items() if i is not None}
        elif counted is None and tracked.kept_by != added.origin.kept_by:
            raise InputError(
                f"{tracked.program} counts the ROIs by {tracked.kept_by}, and those of '{dataset}' "
                f"were kept by {added.origin.kept_by}; import them by the same rule."
            )
    living = project.state().somata.get(dataset, {})
    return {number: uid for number, uid in kept.items() if uid in living}


def _by_index(added: SomaAdded) -> dict[int | None, str]:
    return dict(zip(added.source_index or [None] * len(added.uids), added.uids, strict=True))


def _import_of(project: Project, dataset: str, tracked: TrackedCells) -> SomaAdded:
    """Return the one import of ROIs into a dataset that an assignment can be about."""
    project.dataset(dataset)
    standing = {e.id for history in project.state().histories.values() for e in history.done}
    found = [
        event.content
        for event in project.log.events()
        if event.id in standing
        and isinstance(event.content, SomaAdded)
        and event.content.dataset == dataset
        and event.content.origin is not None
    ]
    if tracked.plane is not None and len(found) > 1:
        mark = f"s2p-p{tracked.plane}-"
        found = [added for added in found if added.uids and mark in added.uids[0]]
    if not found:
        raise InputError(
            f"No ROIs were imported into '{dataset}', so the numbers of {tracked.path} name none "
            "of its somata.",
            kind=ErrorKind.NO_ROIS,
        )
    if len(found) > 1:
        raise InputError(
            f"ROIs of {len(found)} files were imported into '{dataset}', so it is not known which "
            f"of them {tracked.path} numbers; a table of uids says it."
        )
    return found[0]


def review_claims(state: State) -> list[ReviewedClaim]:
    """Return all claims with what people have said about them, in the order of import."""
    said = {}
    for verdict in state.verdicts:  # from the oldest to the latest
        if verdict.pair is not None:
            said[verdict.pair] = verdict.verdict
    partnerless = {v.query_uid for v in state.verdicts if v.verdict is Verdict.NONE}
    partners: dict[tuple[str, str], str] = {}
    for (first, second), names in state.agreed.items():
        partners[first, names[1]] = second
        partners[second, names[0]] = first
    return [
        ReviewedClaim(claim, _status(claim, state, said, partnerless, partners))
        for claim in state.claims
    ]


_STATUS = {
    Verdict.ACCEPT: ClaimStatus.ACCEPTED,
    Verdict.REJECT: ClaimStatus.REJECTED,
    Verdict.UNSURE: ClaimStatus.UNSURE,
}


def _status(
    claim: ImportedClaim,
    state: State,
    said: Mapping[tuple[str, str], Verdict],
    partnerless: set[str],
    partners: Mapping[tuple[str, str], str],
) -> ClaimStatus:
    sides = list(zip(claim.pair, claim.datasets, strict=True))
    if any(uid not in state.somata.get(name, {}) for uid, name in sides):
        return ClaimStatus.GONE
    if claim.pair in said:
        return _STATUS[said[claim.pair]]
    (first, here), (second, there) = sides
    if not partnerless.isdisjoint(claim.pair):
        return ClaimStatus.CONTRADICTED
    taken = partners.get((first, there), second) != second
    taken |= partners.get((second, here), first) != first
    return ClaimStatus.CONTRADICTED if taken else ClaimStatus.WAITING


def waiting_claims(state: State, dataset: str, other: str) -> dict[str, Sequence[ImportedClaim]]:
    """Return the claims that nobody has reviewed, by the soma of ``dataset`` they are about."""
    waiting: dict[str, list[ImportedClaim]] = {}
    for reviewed in review_claims(state) if state.claims else ():
        claim = reviewed.claim
        if reviewed.status is ClaimStatus.WAITING and set(claim.datasets) == {dataset, other}:
            uid = claim.pair[claim.datasets.index(dataset)]
            waiting.setdefault(uid, []).append(claim)
    return dict(waiting)
