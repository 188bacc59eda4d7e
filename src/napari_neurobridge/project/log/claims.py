"""What other programs claim about pairs: to be reviewed, and never a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeAlias

from pydantic import Field, model_validator

from napari_neurobridge.project.log.payload import EventKind, Payload
from napari_neurobridge.types import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_neurobridge.project.log.events import Event


class ClaimsImported(Payload):
    """A program assigned somata of two datasets to each other.

    Nothing that rests on accepted pairs looks at it: no alignment, match, training or
    evaluation.

    Attributes
    ----------
    program : str
        "CellReg", "ROICaT", "Track2p", or "table".
    file, sha256 : str
        Name of the file, and the hash of its content.
    datasets : tuple of str
        The two, in vivo before ex vivo and by name within one role.
    roles : tuple of Role
        Of either.
    uids : list of (str, str)
        One pair for each claim, in the order of ``datasets``.
    scores : list of float or None, or None
        As the program counts; not a probability of ours.
    """

    kind: ClassVar[EventKind] = EventKind.CLAIMS_IMPORTED

    program: Annotated[str, Field(min_length=1)]
    file: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    datasets: tuple[str, str]
    roles: tuple[Role, Role]
    uids: list[tuple[str, str]]
    scores: list[float | None] | None = None

    @model_validator(mode="after")
    def _one_score_each(self) -> ClaimsImported:
        if self.scores is not None and len(self.scores) != len(self.uids):
            raise ValueError("claims need one score each")
        return self

    @property
    def by_hand(self) -> bool:
        """Never: a program decided."""
        return False


@dataclass(frozen=True, slots=True)
class ImportedClaim:
    """One pair that a program claims.

    Attributes
    ----------
    pair : (str, str)
        Uids in canonical order, as of verdicts.
    datasets : (str, str)
        In the same order.
    program : str
    score : float or None
    event_id : str
        The import that says so.
    """

    pair: tuple[str, str]
    datasets: tuple[str, str]
    program: str
    score: float | None
    event_id: str


_Source: TypeAlias = tuple[str, tuple[str, str]]


def fold_claims(events: Iterable[Event]) -> tuple[ImportedClaim, ...]:
    """Fold the imports of claims, sorted by (time, id), without those that were undone.

    What a program said last about two datasets replaces what it said before.
    """
    latest: dict[_Source, tuple[str, ClaimsImported]] = {}
    for event in events:
        content = event.content
        if isinstance(content, ClaimsImported):
            latest[content.program, content.datasets] = event.id, content
    return tuple(
        ImportedClaim(pair, content.datasets, content.program, score, event_id)
        for _, (event_id, content) in sorted(latest.items())
        for pair, score in zip(
            content.uids, content.scores or [None] * len(content.uids), strict=True
        )
    )
