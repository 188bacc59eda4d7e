"""Random checks of claimed pairs, with what was answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from napari_neurobridge.project.log.checks import CheckDrawn, draw_order
from napari_neurobridge.project.log.events import VerdictGiven

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_neurobridge.project.log.events import Event
    from napari_neurobridge.project.log.verdicts_fold import PairKey
    from napari_neurobridge.types import Verdict


@dataclass(frozen=True)
class RandomCheck:
    """One random check and its answers.

    Attributes
    ----------
    event_id, time, annotator : str
        The event that drew it.
    content : CheckDrawn
    number : int
        From 1, among the project's checks.
    answers : dict of PairKey to tuple of Verdict
        What was said of the drawn pairs within the check, by whomever.
    """

    event_id: str
    time: str
    annotator: str
    content: CheckDrawn
    number: int
    answers: Mapping[PairKey, tuple[Verdict, ...]] = field(default_factory=dict)

    @cached_property
    def drawn(self) -> tuple[PairKey, ...]:
        """The sample, in the order in which it is asked."""
        return tuple(draw_order(self.content.population, self.content.seed)[: self.content.n])


def fold_checks(draws: Iterable[Event], verdicts: Iterable[Event]) -> tuple[RandomCheck, ...]:
    """Fold checks and verdicts, sorted by (time, id), without those that were undone."""
    answers: dict[str, dict[PairKey, tuple[Verdict, ...]]] = {}
    for event in verdicts:
        given = event.content
        if not isinstance(given, VerdictGiven) or given.evidence.check is None:
            continue
        if given.candidate_uid is not None:
            # A check asks about the in-vivo soma of a pair.
            pair = (given.query_uid, given.candidate_uid)
            said = answers.setdefault(given.evidence.check, {})
            said[pair] = (*said.get(pair, ()), given.verdict)
    return tuple(
        RandomCheck(
            event.id, event.time, event.annotator, content, number, answers.get(event.id, {})
        )
        for number, event in enumerate(draws, start=1)
        if isinstance(content := event.content, CheckDrawn)
    )
