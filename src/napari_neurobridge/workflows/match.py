"""All cells matched at once, and what to ask next: shared by the docks and the commands."""

from __future__ import annotations

import itertools
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.active.queue import (
    QueueStrategy,
    claimed_first,
    default_strategy,
    n_asked,
    waiting_questions,
    with_audits,
)
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.tables import write_rows
from napari_neurobridge.matching.calibration import claimable, expected_false
from napari_neurobridge.project.landmarks import ProjectLandmarks
from napari_neurobridge.types import Role
from napari_neurobridge.workflows.claims import waiting_claims
from napari_neurobridge.workflows.index import load_encoder, ranking_model

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from napari_neurobridge.active.queue import QueueItem
    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.matching.match import Match
    from napari_neurobridge.matching.matched_pairs import MatchedPair
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Report

PAIR_COLUMNS = (
    "two_photon_uid",
    "fmost_uid",
    "probability",
    "residual_um",
    "score_um",
    "accepted",
)


@dataclass(frozen=True)
class Claims:
    """Pairs that may be claimed when some share of them may be wrong.

    Attributes
    ----------
    pairs : tuple of MatchedPair
        The accepted ones among them, the most probable first.
    expected_false : float
        How many are expected to be wrong.
    """

    pairs: tuple[MatchedPair, ...]
    expected_false: float

    @classmethod
    def of(cls, match: Match, fdr: float) -> Claims:
        """Take as many of the most probable pairs as the expected share of false ones allows.

        Accepted pairs are always among them, and buy no room for others.

        Raises
        ------
        InputError
            If ``fdr`` is not between 0 and 1.
        """
        if not 0.0 < fdr < 1.0:
            raise InputError(
                f"A share of wrong claims lies between 0 and 1, such as 0.05, not at {fdr:g}."
            )
        proposed = [pair for pair in match.matched() if not pair.accepted]
        probability = np.array([pair.probability for pair in proposed])
        chosen = claimable(probability, fdr)
        accepted = tuple(pair for pair in match.matched() if pair.accepted)
        claimed = tuple(itertools.compress(proposed, chosen.tolist()))
        return cls(accepted + claimed, expected_false(probability[chosen]))

    @property
    def n_accepted(self) -> int:
        """How many of them a person accepted."""
        return sum(pair.accepted for pair in self.pairs)


def changed_partners(before: Match, after: Match) -> frozenset[str]:
    """Return the in-vivo cells whose most probable partner is another in a later match."""
    old, new = (
        {pair.in_vivo_uid: pair.ex_vivo_uid for pair in match.matched()}
        for match in (before, after)
    )
    return frozenset(uid for uid in old.keys() | new.keys() if old.get(uid) != new.get(uid))


def matching_encoder(project: Project, load: Callable[[], Encoder]) -> Encoder | None:
    """Return the encoder whose index can tell candidates apart; None where there is none.

    Parameters
    ----------
    project : Project
    load : callable
        Loads the encoder, which takes seconds; called only if there is an index at all.

    Raises
    ------
    InputError
        If there is no such model.
    """
    sides = project.in_vivo(), project.ex_vivo()
    if not project.has_images(*sides) or not any(project.embeddings_dir.iterdir()):
        return None
    from napari_neurobridge.matching.appearance.gallery import load_gallery

    encoder = load()
    indexed = all(len(load_gallery(project, encoder, name)) for name in sides)
    return encoder if indexed else None


def n_landmarks(project: Project) -> int:
    """Return how many landmarks the default datasets have: accepted pairs, and other points."""
    return len(ProjectLandmarks.of(project.state(), project.in_vivo(), project.ex_vivo()))


def has_landmarks(project: Project) -> bool:
    """Return whether the default datasets have any landmark."""
    return n_landmarks(project) > 0


def strategy_now(project: Project) -> QueueStrategy:
    """Return what the queue asks by unless told otherwise."""
    return default_strategy(n_landmarks(project))


def match_between(
    project: Project, encoder: Encoder | None, dataset: str, other: str
) -> Match | None:
    """Match two datasets of different roles; None without a landmark between them."""
    from napari_neurobridge.matching.match_datasets import match_datasets

    first, second = sorted(
        (dataset, other), key=lambda name: project.dataset(name).role is Role.EX_VIVO
    )
    roles = {project.dataset(name).role for name in (first, second)}
    if len(roles) < 2 or not len(ProjectLandmarks.of(project.state(), first, second)):
        return None
    return match_datasets(project, encoder, in_vivo=first, ex_vivo=second)


def match_all(
    project: Project,
    model: str | None = None,
    *,
    images: bool = True,
    start: Match | None = None,
    report: Report | None = None,
) -> Match:
    """Match all somata of the default datasets.

    Parameters
    ----------
    project : Project
    model : str, optional
        Whose index is used; see `ranking_model` unless given.
    images : bool
        Use what the crops say, as far as both sides are indexed.
    start : Match, optional
        From before the latest verdict.
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If nothing can be matched; see `match_datasets`.
    """
    from napari_neurobridge.matching.match_datasets import match_datasets

    encoder = named_encoder(project, model) if images else None
    return match_datasets(project, encoder, start=start, constellation=True, report=report)


def named_encoder(project: Project, model: str | None = None) -> Encoder | None:
    """Return the `matching_encoder` of a model; of `ranking_model` unless one is named."""

    def load() -> Encoder:
        return load_encoder(project, ranking_model(project).path if model is None else model)

    return matching_encoder(project, load)


def write_claims(project: Project, claims: Claims, path: Path | None = None) -> Path:
    """Write claimed pairs as CSV, into a new folder of ``runs`` unless a path is given."""
    if path is None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        path = project.runs_dir / f"{stamp}-match" / "pairs.csv"
    with atomic_write(path) as temporary:
        write_rows(temporary, PAIR_COLUMNS, map(_row, claims.pairs))
    return path


def _row(pair: MatchedPair) -> tuple[object, ...]:
    first, second, probability, residual, score, accepted = astuple(pair)
    return first, second, f"{probability:.6g}", f"{residual:.3f}", f"{score:.3f}", int(accepted)


def questions_of(
    project: Project,
    match: Match | None,
    strategy: QueueStrategy | None = None,
    *,
    postponed: Collection[str] = (),
) -> list[QueueItem]:
    """Return whom to ask next about, audit questions included.

    Parameters
    ----------
    project : Project
    match : Match, optional
    strategy : QueueStrategy, optional
        See `waiting_questions`.
    postponed : collection of str
        Cells that were looked at and left undecided; they come last.
    """
    return as_asked(project, undecided_of(project, match, strategy), postponed)


def undecided_of(
    project: Project, match: Match | None, strategy: QueueStrategy | None = None
) -> list[QueueItem]:
    """Return the cells that nobody has decided on with why they are asked, as `questions_of`.

    Without audit questions, which say nothing about the cell.
    """
    state, dataset = project.state(), project.in_vivo()
    other = project.ex_vivo()
    items = waiting_questions(state, dataset, other, match, strategy)
    if state.claims:
        items = claimed_first(items, waiting_claims(state, dataset, other))
    return items


def as_asked(
    project: Project,
    items: Sequence[QueueItem],
    postponed: Collection[str] = (),
    *,
    is_mine: Callable[[str], bool] | None = None,
) -> list[QueueItem]:
    """Return `undecided_of` in the order in which they are asked; see `questions_of`.

    Cells that are not ``is_mine`` are somebody else's at the same time, and come after those
    that are; all are, unless given.
    """
    state, dataset = project.state(), project.in_vivo()
    fresh = [item for item in items if item.uid not in postponed]
    mine = {item.uid for item in fresh if is_mine is None or is_mine(item.uid)}
    parts = (
        [item for item in fresh if item.uid in mine],
        [item for item in fresh if item.uid not in mine],
        [item for item in items if item.uid in postponed],
    )
    asked: list[QueueItem] = []
    for part in parts:
        asked += with_audits(part, n_asked(state, dataset) + len(asked))
    return asked
