"""Random checks of claimed pairs, and what they certify: shared by the dock and the commands."""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

import napari_neurobridge
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.tables import write_rows
from napari_neurobridge.matching.proportions import CONFIDENCE, draws_needed, most_wrong
from napari_neurobridge.project.log.checks import CheckDrawn
from napari_neurobridge.project.log.events import default_annotator
from napari_neurobridge.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_neurobridge.matching.matched_pairs import MatchedPair
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.checks_fold import RandomCheck
    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.project.log.verdicts_fold import PairKey
    from napari_neurobridge.workflows.match import Claims

LIMITS = (
    "It rests on what a person saw in two crops, without any score and in random order. A wrong "
    "pair that looks right in its crops is not found, and the person knew that all of them are "
    "claimed. It speaks of these pairs as they were drawn, at this cut, and of no others; of "
    "several checks of a project, one in twenty may promise too much."
)
"""What a certificate does not say."""

_SUFFIXES = (".csv", ".json", ".png", ".pdf")


class Outcome(StrEnum):
    """What a random check says of one drawn pair; all but RIGHT and WAITING count as wrong."""

    RIGHT = "right"
    WRONG = "wrong"
    UNSURE = "unsure"
    CHANGED = "changed since"
    WAITING = "not looked at"


class CheckedPair(BaseModel, frozen=True):
    """One drawn pair and what came of it."""

    two_photon_uid: str
    fmost_uid: str
    outcome: Outcome


class Certificate(BaseModel, frozen=True):
    """How many of some claimed pairs may be wrong, after a random check of them."""

    check: str = Field(description="Id of the event that drew the pairs.")
    number: int = Field(description="Of the project's checks, from 1.")
    drawn: str = Field(description="When, UTC.")
    annotator: str
    seed: str = Field(description="Decides which pairs are drawn, with the population.")
    software_version: str
    datasets: tuple[str, str]
    fdr: float = Field(description="Share of wrong claims at which the pairs were claimed.")
    population: int = Field(description="Claimed pairs that nobody had judged.")
    n: int = Field(description="How many of them were drawn, without replacement.")
    n_answered: int
    n_wrong: int = Field(description="Of the answered ones: wrong, unsure, or changed since.")
    wanted: float = Field(description="Share of wrong pairs that was to be certified.")
    confidence: float
    most_wrong: int | None = Field(
        description="Upper bound of the wrong pairs in the population; None before the end."
    )
    pairs: tuple[CheckedPair, ...] = Field(description="As drawn, in that order.")
    limits: str = LIMITS

    @property
    def complete(self) -> bool:
        """Whether all drawn pairs were looked at; before that nothing is certified."""
        return self.most_wrong is not None

    @property
    def reached(self) -> bool:
        """Whether the bound is as low as was wanted."""
        return self.most_wrong is not None and self.most_wrong <= self.wanted * self.population

    def in_words(self) -> str:
        """Return what is certified, or how far the check is."""
        wrong = f"{self.n_wrong or 'none'} wrong"
        if self.most_wrong is None:
            return f"Random check {self.number}: {self.n_answered} of {self.n} looked at, {wrong}."
        # Rounded up: a bound must not look lower than it is.
        thousandths = -(-1000 * self.most_wrong // self.population)
        return (
            f"At most {thousandths / 10:g} % of the {self.population:,} remaining pairs wrong "
            f"({100 * self.confidence:g} % confidence): {self.n} audited, {wrong}."
        )

    def facts(self) -> list[tuple[str, str]]:
        """Return what it rests on, as names and values."""
        counts = Counter(pair.outcome for pair in self.pairs)
        return [
            ("between", " and ".join(self.datasets)),
            ("pairs drawn at random", f"{self.n} of {self.population:,}, without replacement"),
            ("answers", ", ".join(f"{counts[one]} {one}" for one in Outcome if counts[one])),
            ("claimed at", f"at most {100 * self.fdr:g} % wrong claims expected"),
            ("drawn", f"{self.drawn[:19].replace('T', ' ')} UTC by {self.annotator}"),
            ("random check", f"{self.number} of this project, seed {self.seed}"),
            ("napari-neurobridge", self.software_version),
        ]


def waiting_pairs(state: State, claims: Claims) -> dict[PairKey, MatchedPair]:
    """Return the claimed pairs that nobody has judged, the least certain first.

    Parameters
    ----------
    state : State
    claims : Claims
        What may be claimed at the current cut.
    """
    judged = {verdict.pair for verdict in state.verdicts if verdict.pair is not None}
    claimed = {(pair.in_vivo_uid, pair.ex_vivo_uid): pair for pair in claims.pairs}
    waiting = [pair for pair in claimed if not claimed[pair].accepted and pair not in judged]
    waiting.sort(key=lambda pair: (claimed[pair].probability, pair))
    return {pair: claimed[pair] for pair in waiting}


def blocked_pairs(
    state: State, datasets: tuple[str, str], pairs: Iterable[PairKey]
) -> set[PairKey]:
    """Return the pairs that cannot be accepted: of a soma that is gone, or paired with another.

    Parameters
    ----------
    state : State
    datasets : tuple of str
        Of the pairs, in vivo and ex vivo.
    pairs : iterable of PairKey
    """
    living = {uid for somata in state.somata.values() for uid in somata}
    partners: dict[str, set[PairKey]] = defaultdict(set)
    for verdict in state.verdicts:
        if verdict.verdict is Verdict.ACCEPT and verdict.pair and verdict.datasets == datasets:
            for uid in verdict.pair:
                partners[uid].add(verdict.pair)
    return {
        pair
        for pair in pairs
        if not living.issuperset(pair) or any(partners[uid] - {pair} for uid in pair)
    }


def draw_check(
    project: Project,
    pairs: Sequence[MatchedPair],
    share: float,
    *,
    fdr: float,
    alignment_id: str | None = None,
    annotator: str | None = None,
    seed: str | None = None,
    confidence: float = CONFIDENCE,
) -> RandomCheck:
    """Draw as many claimed pairs as certify a share of wrong ones if none of them is wrong.

    Parameters
    ----------
    project : Project
    pairs : sequence of MatchedPair
        What the certificate is to speak of; see `waiting_pairs`.
    share : float
        Largest share of wrong pairs, such as 0.02.
    fdr, alignment_id
        What the pairs were claimed at and by.
    annotator : str, optional
    seed : str, optional
        From the system's own chance unless given, so that nobody can choose a draw.
    confidence : float

    Returns
    -------
    RandomCheck
        In the log.

    Raises
    ------
    InputError
        If there is no pair, or the share is not between 0 and 1.
    """
    if not pairs:
        raise InputError("No claimed pair is left to draw a random check from.")
    drawn = CheckDrawn(
        datasets=(project.in_vivo(), project.ex_vivo()),
        population=sorted((pair.in_vivo_uid, pair.ex_vivo_uid) for pair in pairs),
        seed=seed or secrets.token_hex(16),
        n=draws_needed(len(pairs), share, confidence),
        share=share,
        confidence=confidence,
        fdr=fdr,
        alignment_id=alignment_id,
        software_version=napari_neurobridge.__version__,
    )
    (event,) = project.record(annotator or default_annotator(), lambda _: [drawn])
    return next(check for check in project.state().checks if check.event_id == event.id)


def outcomes(check: RandomCheck, state: State) -> dict[PairKey, Outcome]:
    """Return what is known of each drawn pair, in the order of the draw.

    A pair counts as right when all who answered within the check accepted it and nobody has
    contradicted them since. One whose soma is gone, or was given another partner before it was
    looked at, cannot be asked any more: it has changed.
    """
    blocked = blocked_pairs(state, check.content.datasets, check.drawn)

    def outcome(pair: PairKey) -> Outcome:
        said = check.answers.get(pair, ())
        if Verdict.REJECT in said:
            return Outcome.WRONG
        if Verdict.UNSURE in said:
            return Outcome.UNSURE
        if said:
            return Outcome.RIGHT if pair in state.agreed else Outcome.CHANGED
        return Outcome.CHANGED if pair in blocked else Outcome.WAITING

    return {pair: outcome(pair) for pair in check.drawn}


def certify(check: RandomCheck, state: State) -> Certificate:
    """Return what a check certifies so far; nothing before all drawn pairs were looked at.

    The bound is exact for a number of draws that was fixed before the first answer, so a check
    that was left in the middle has none.
    """
    found, drawn = outcomes(check, state), check.content
    waiting = sum(outcome is Outcome.WAITING for outcome in found.values())
    wrong = sum(outcome not in (Outcome.RIGHT, Outcome.WAITING) for outcome in found.values())
    size = len(drawn.population)
    return Certificate(
        check=check.event_id,
        number=check.number,
        drawn=check.time,
        annotator=check.annotator,
        seed=drawn.seed,
        software_version=drawn.software_version,
        datasets=drawn.datasets,
        fdr=drawn.fdr,
        population=size,
        n=drawn.n,
        n_answered=drawn.n - waiting,
        n_wrong=wrong,
        wanted=drawn.share,
        confidence=drawn.confidence,
        most_wrong=None if waiting else most_wrong(wrong, drawn.n, size, drawn.confidence),
        pairs=tuple(
            CheckedPair(two_photon_uid=one, fmost_uid=other, outcome=outcome)
            for (one, other), outcome in found.items()
        ),
    )


def latest_certificate(project: Project) -> Certificate:
    """Return what the project's latest complete random check certifies.

    Raises
    ------
    InputError
        If no check is complete.
    """
    state = project.state()
    certificates = (certify(check, state) for check in reversed(state.checks))
    found = next((one for one in certificates if one.complete), None)
    if found is None:
        begun = len(state.checks)
        unfinished = f"; {begun} not finished" if begun else ""
        raise InputError(
            f"The project has no finished random check of its claimed pairs{unfinished}."
        )
    return found


def checks_in_words(project: Project) -> list[tuple[str, str]]:
    """Return what each random check of a project says, as names and values for a report."""
    state = project.state()
    return [("random check", certify(check, state).in_words()) for check in state.checks]


def write_certificate(certificate: Certificate, path: Path) -> Path:
    """Write a certificate, by the suffix of the path.

    Parameters
    ----------
    certificate : Certificate
    path : Path
        ``.json`` holds all of it, ``.csv`` the checked pairs, ``.png`` and ``.pdf`` a page
        for people.

    Raises
    ------
    InputError
        If the suffix is another.
    """
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        known = ", ".join(_SUFFIXES)
        raise InputError(f"A certificate is written as one of {known}, not as '{suffix}'.")
    if suffix in (".png", ".pdf"):
        from napari_neurobridge.insight.figures import certificate_figure, save_figure

        figure = certificate_figure(certificate.in_words(), certificate.facts(), certificate.limits)
        return save_figure(figure, path)
    with atomic_write(path) as temporary:
        if suffix == ".json":
            temporary.write_text(certificate.model_dump_json(indent=2) + "\n", encoding="utf-8")
        else:
            rows = ((one.two_photon_uid, one.fmost_uid, one.outcome) for one in certificate.pairs)
            write_rows(temporary, ("two_photon_uid", "fmost_uid", "outcome"), rows)
    return path
