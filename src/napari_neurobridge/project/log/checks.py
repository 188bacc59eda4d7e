"""What a random check of claimed pairs records: the pairs that it stands for, and the draw."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator

from napari_neurobridge.project.log.payload import EventKind, Payload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_neurobridge.project.log.verdicts_fold import PairKey


class CheckDrawn(Payload):
    """A sample of claimed pairs was drawn, to be judged blind; fixed before any answer.

    Attributes
    ----------
    datasets : tuple of str
        In vivo and ex vivo.
    population : list of (str, str)
        All pairs that the sample stands for, by their uids in that order, sorted.
    seed : str
        Decides the order of the draw; see `draw_order`.
    n : int
        How many are drawn, without replacement.
    share : float
        Largest share of wrong pairs that is to be certified.
    confidence : float
        Of the certificate.
    fdr : float
        Share of wrong claims at which the pairs were claimed.
    alignment_id : str or None
        Of the match that claimed them.
    """

    kind: ClassVar[EventKind] = EventKind.CHECK_DRAWN

    datasets: tuple[str, str]
    population: Annotated[list[tuple[str, str]], Field(min_length=1)]
    seed: Annotated[str, Field(min_length=1)]
    n: Annotated[int, Field(ge=1)]
    share: Annotated[float, Field(gt=0, lt=1)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    fdr: float
    alignment_id: str | None = None
    software_version: str

    @model_validator(mode="after")
    def _no_more_than_there_are(self) -> CheckDrawn:
        if self.n > len(self.population):
            raise ValueError("a check draws no more pairs than there are")
        return self

    @property
    def by_hand(self) -> bool:
        """Never: chance decided, and a draw that one did not like must not be undone by a key."""
        return False


def draw_order(pairs: Iterable[PairKey], seed: str) -> list[PairKey]:
    """Return pairs in a random order that pairs and seed alone decide, on every machine.

    The order of the hashes of seed and uids: any of its beginnings is a sample without
    replacement.
    """
    return sorted(
        pairs, key=lambda pair: hashlib.sha256("\n".join((seed, *pair)).encode()).digest()
    )
