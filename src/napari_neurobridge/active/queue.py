"""The queue of questions.

Until probabilities exist, the queue asks the clearest cells first: they give the
most reliable first pairs, which everything that follows rests on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_neurobridge.types import SomaSource

if TYPE_CHECKING:
    from napari_neurobridge.project.fold import State


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
    """Return the somata of ``dataset`` without a verdict, the clearest one first.

    Parameters
    ----------
    state : State
        The fold of the project's events.
    dataset : str
        Dataset whose cells are asked.
    """
    waiting = [
        soma for soma in state.somata.get(dataset, {}).values() if soma.uid not in state.asked
    ]
    # Somata that a person placed have no confidence: somebody wanted them, so they go first.
    waiting.sort(
        key=lambda soma: (-(1.0 if soma.confidence is None else soma.confidence), soma.uid)
    )
    return [QueueItem(soma.uid, _REASONS[soma.source]) for soma in waiting]


_REASONS = {
    SomaSource.DETECTED: "the clearest cell not asked yet",
    SomaSource.IMPORTED: "imported, and not asked yet",
    SomaSource.MANUAL: "added by hand, and not asked yet",
}
