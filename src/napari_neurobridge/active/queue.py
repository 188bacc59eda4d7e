"""The queue of questions.

Until probabilities exist, the queue asks the clearest cells first: they give the
most reliable first pairs, which everything that follows rests on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_neurobridge.types import SomaSource, Verdict

if TYPE_CHECKING:
    from napari_neurobridge.project.fold import State
    from napari_neurobridge.types import Soma


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One question.

    Attributes
    ----------
    reason : str
        Why it is asked, in words for the annotator.
    """

    uid: str
    reason: str


def clearest_first(state: State, dataset: str) -> list[QueueItem]:
    """Return the somata of ``dataset`` that nobody has decided on, the clearest one first.

    A rejected candidate decides nothing about the cell: it comes again, after the others.

    Parameters
    ----------
    state : State
        The fold of the project's events.
    dataset : str
        Dataset whose cells are asked.
    """
    decided = {uid for pair in state.agreed for uid in pair}
    tried = set()
    for verdict in state.verdicts:
        if verdict.verdict is Verdict.REJECT:
            tried.add(verdict.query_uid)
        else:
            decided.add(verdict.query_uid)
    somata = state.somata.get(dataset, {}).values()
    waiting = [soma for soma in somata if soma.uid not in decided]

    def order(soma: Soma) -> tuple[bool, float, str]:
        # Somata that a person placed have no confidence: somebody wanted them.
        return soma.uid in tried, -(1.0 if soma.confidence is None else soma.confidence), soma.uid

    return [
        QueueItem(
            soma.uid,
            "a candidate was rejected, and no partner found yet"
            if soma.uid in tried
            else _REASONS[soma.source],
        )
        for soma in sorted(waiting, key=order)
    ]


_REASONS = {
    SomaSource.DETECTED: "the clearest cell not asked yet",
    SomaSource.IMPORTED: "imported, and not asked yet",
    SomaSource.MANUAL: "placed by hand, and not asked yet",
}
