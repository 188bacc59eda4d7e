"""What a verdict would change, before anybody gives it: matched anew, and kept nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_neurobridge.project.log.supposing import suppose
from napari_neurobridge.workflows.match import Claims, changed_partners

if TYPE_CHECKING:
    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.matching.match import Match
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.judging import Judgement
    from napari_neurobridge.types import Report


@dataclass(frozen=True, slots=True)
class Consequence:
    """What a verdict would change.

    Attributes
    ----------
    n_others : int
        In-vivo cells, beside those judged, that would get another partner or lose theirs.
    uids : frozenset of str
        They, and their new partners that would be claimed.
    """

    n_others: int
    uids: frozenset[str]


def consequence_of(
    project: Project,
    match: Match,
    judgement: Judgement,
    fdr: float,
    *,
    encoder: Encoder | None = None,
    annotator: str,
    report: Report | None = None,
) -> Consequence:
    """Return what a verdict would change, without giving it.

    Parameters
    ----------
    project : Project
        Nothing is written to it: no event, no alignment.
    match : Match
        Of its current state.
    judgement : Judgement
        The verdict; an accepted pair that contradicts it is set aside.
    fdr : float
        Share of claims that may be wrong.
    encoder : Encoder, optional
        As for the match.
    annotator : str
        Who would say so.
    report : callable, optional
        Called as ``report(done, total, message)``; it may raise to cancel.

    Raises
    ------
    InputError
        If a soma does not live, both lie in one dataset, or nothing could be matched.
    """
    from napari_neurobridge.matching.match_datasets import match_datasets

    state = suppose(project, judgement, annotator)
    found = match_datasets(project, encoder, start=match, state=state, report=report)
    others = changed_partners(match, found) - {judgement.query_uid, judgement.candidate_uid}
    partners = {pair.in_vivo_uid: pair.ex_vivo_uid for pair in Claims.of(found, fdr).pairs}
    new = {partners[uid] for uid in others if uid in partners}
    return Consequence(len(others), others | new)
