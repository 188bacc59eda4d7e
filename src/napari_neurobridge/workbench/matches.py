"""The current match of all cells, kept up to date in the background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_neurobridge.errors import Cancelled, InputError, NeuroBridgeError
from napari_neurobridge.types import Verdict
from napari_neurobridge.workbench.remedies import explain
from napari_neurobridge.workflows import match as matching
from napari_neurobridge.workflows.match import Claims

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.matching.appearance.agreement import Agreement
    from napari_neurobridge.matching.decoys import DecoyCheck
    from napari_neurobridge.matching.match import Match
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.types import Vec3
    from napari_neurobridge.workbench.models import EncoderCache
    from napari_neurobridge.workbench.session import Session

DEFAULT_FDR = 0.05
N_NEIGHBOURS = 6
"""Numbered neighbours of a query, accepted and claimed ones together."""

_NEIGHBOURHOOD_UM = 150.0


@dataclass(frozen=True)
class Neighbour:
    """A pair near the query, to compare the surroundings by.

    Attributes
    ----------
    number : int
        From 1, the same on both sides.
    centers_um : dict of str to Vec3
        Its place in each of the two datasets.
    accepted : bool
        By a person; the others are only claimed.
    """

    number: int
    uids: tuple[str, str]
    centers_um: dict[str, Vec3]
    accepted: bool


class Matches:
    """Refits and matches after each verdict, without holding anybody up.

    Parameters
    ----------
    session : Session
        Where the project lives.
    encoders : EncoderCache
        Loads the model whose index tells candidates apart.

    Attributes
    ----------
    match : Match or None
        The latest; an older one stays until a newer is there.
    problem : str
        Why there is none; empty while there is hope.
    updating : bool
        Whether a newer one is on its way.
    changed : frozenset of str
        In-vivo cells whose most probable partner the latest verdict changed.
    fdr : float
        Share of claims that may be wrong.
    decoys : DecoyCheck or None
        How many cells are matched where no match is correct; ``None`` until somebody asked.
    """

    match_changed = Signal()
    claims_changed = Signal()

    def __init__(self, session: Session, encoders: EncoderCache) -> None:
        self.match: Match | None = None
        self.problem = ""
        self.updating = False
        self.changed: frozenset[str] = frozenset()
        self.fdr = DEFAULT_FDR
        self.decoys: DecoyCheck | None = None
        self._session = session
        self._encoders = encoders
        self._basis: object = None
        self._searching = False
        self._latest = 0
        self._claims: tuple[object, Claims] | None = None
        self._partners: tuple[Claims | None, dict[str, tuple[str, float]]] | None = None
        session.project_changed.connect(self._on_project_changed)
        session.orientation_changed.connect(self._start_over)
        session.verdicts_changed.connect(self.refresh)
        session.index_changed.connect(self.refresh)

    # --- what views may ask ----------------------------------------------------------------

    @property
    def has_match(self) -> bool:
        """Whether all cells are matched."""
        return self.match is not None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the match, a sentence each."""
        return () if self.match is None else self.match.notes

    @property
    def n_doubtful(self) -> int:
        """How many accepted pairs all other cells contradict."""
        return 0 if self.match is None else len(self.match.doubtful())

    @property
    def agreement(self) -> Agreement | None:
        """How often pictures and places name the same cell; None where pictures have no say."""
        return None if self.match is None else self.match.agreement

    def n_changed(self, besides: str | None = None) -> int:
        """Return for how many cells the latest verdict changed the most probable partner.

        Parameters
        ----------
        besides : str, optional
            A cell that is not counted.
        """
        return len(self.changed - {besides})

    def save_pairs(self, path: Path) -> None:
        """Write the accepted and the claimed pairs as CSV, in the background."""
        project, claims = self._session.project, self.claims()
        if project is None or claims is None:
            return
        self._session.jobs.submit(
            "save pairs",
            lambda: matching.write_claims(project, claims, path),
            lambda written: self._session.notify(f"wrote {len(claims.pairs)} pairs to {written}"),
            self._session.show_error,
        )

    # --- what is claimed -----------------------------------------------------------------

    def claims(self) -> Claims | None:
        """Return the pairs that may be claimed at the current cut; None without a match."""
        if self.match is None:
            return None
        key = (self.match, self.fdr)
        if self._claims is None or self._claims[0] != key:
            self._claims = (key, Claims.of(self.match, self.fdr))
        return self._claims[1]

    def set_fdr(self, fdr: float) -> None:
        """Move the cut."""
        self.fdr = fdr
        self.decoys = None
        self.claims_changed.emit()

    def check_decoys(self) -> None:
        """Count the matches in galleries that hold no partner; takes some six matches."""
        match, fdr = self.match, self.fdr
        if match is None:
            return

        def show(check: DecoyCheck) -> None:
            if self.match is match and self.fdr == fdr:
                self.decoys = check
                self.claims_changed.emit()

        def stop_if_stale(done: int, total: int, message: str) -> None:
            if self.match is not match or self.fdr != fdr:
                raise Cancelled("the match or the cut has changed")

        def refuse(error: NeuroBridgeError) -> None:
            if not isinstance(error, Cancelled):
                self._session.show_error(error)

        self._session.jobs.submit(
            "decoys",
            lambda: match.decoys(fdr, report=stop_if_stale),
            show,
            refuse,
            beside=True,
        )

    def partners(self) -> dict[str, tuple[str, float]]:
        """Return partner and probability of each cell of a claimed pair, of either side."""
        claims = self.claims()
        if self._partners is None or self._partners[0] is not claims:
            found: dict[str, tuple[str, float]] = {}
            for pair in claims.pairs if claims is not None else ():
                found[pair.in_vivo_uid] = (pair.ex_vivo_uid, pair.probability)
                found[pair.ex_vivo_uid] = (pair.in_vivo_uid, pair.probability)
            self._partners = claims, found
        return self._partners[1]

    def changed_on_both_sides(self) -> frozenset[str]:
        """Return the cells whose partner the latest verdict changed, with their new partners."""
        if self.updating:
            return frozenset()
        partners = self.partners()
        return self.changed | {partners[uid][0] for uid in self.changed & partners.keys()}

    def neighbours(self, dataset: str, center_um: Vec3, uid: str | None) -> list[Neighbour]:
        """Return the pairs nearest to a place, accepted ones before claimed ones.

        Parameters
        ----------
        dataset, center_um
            Where, µm (z, y, x).
        uid : str, optional
            The soma there, which is no neighbour of itself.
        """
        project, claims = self._session.project, self.claims()
        if project is None or claims is None or self.match is None:
            return []
        sides = project.in_vivo(), project.ex_vivo()
        if dataset not in sides:
            return []
        somata = [project.state().somata.get(name, {}) for name in sides]
        near: list[tuple[bool, float, tuple[str, str], bool]] = []
        for pair in claims.pairs:
            uids = (pair.in_vivo_uid, pair.ex_vivo_uid)
            if uid in uids or any(u not in s for u, s in zip(uids, somata, strict=True)):
                continue
            here = somata[sides.index(dataset)][uids[sides.index(dataset)]].center_um
            distance = float(np.linalg.norm(np.subtract(here, center_um)))
            if distance <= _NEIGHBOURHOOD_UM:
                near.append((not pair.accepted, distance, uids, pair.accepted))
        return [
            Neighbour(
                number,
                uids,
                {
                    name: known[u].center_um
                    for name, known, u in zip(sides, somata, uids, strict=True)
                },
                accepted,
            )
            for number, (_, _, uids, accepted) in enumerate(sorted(near)[:N_NEIGHBOURS], start=1)
        ]

    # --- keeping up to date ----------------------------------------------------------------

    def refresh(self) -> None:
        """Match anew if anything that matters is another; the old match stays until then."""
        project = self._session.project
        if project is None:
            self._set(None, "")
            return
        basis = _basis(project.state(), project)
        if basis == self._basis:
            return
        self._basis = basis
        begun = self.match is not None and len(self.match.proposals) > 0
        if not (begun or self._searching or matching.has_landmarks(project)):
            self._forget()
            self._set(None, "")
            return
        self._submit(project, constellation=self._searching)

    def find_start(self) -> None:
        """Look for a first match without any accepted pair; takes a while."""

        def start() -> None:
            project = self._session.require_project()
            if matching.has_landmarks(project):
                raise InputError("There are accepted pairs already; cells are matched from those.")
            self._submit(project, constellation=True)

        self._session.attempt(start)

    def _submit(self, project: Project, *, constellation: bool = False) -> None:
        start = self.match
        self.updating, self.problem, self._searching = True, "", constellation
        self.match_changed.emit()
        self._latest += 1
        number = self._latest

        def stop_if_stale(done: int, total: int, message: str) -> None:
            if number != self._latest:
                raise Cancelled("another match is under way")

        def work() -> Match:
            from napari_neurobridge.matching.match_datasets import match_datasets

            encoder = matching.matching_encoder(project, lambda: self._encoders.ranking(project))
            try:
                found = match_datasets(
                    project,
                    encoder,
                    start=start,
                    constellation=constellation,
                    report=stop_if_stale,
                )
                # What every view asks for first.
                _ = found.matched(), found.agreement, found.notes
            except NeuroBridgeError:
                raise
            except Exception as error:
                # Otherwise the dock would wait for an answer for good.
                raise NeuroBridgeError(
                    f"Matching failed ({error}); please report this, with the project if possible."
                ) from error
            return found

        def refuse(error: NeuroBridgeError) -> None:
            self._set(None, explain(error))
            self._session.show_error(error)

        self._session.jobs.submit(
            "match", work, lambda found: self._set(found, ""), refuse, beside=True
        )

    def _set(self, match: Match | None, problem: str) -> None:
        before, self.match = self.match, match
        self.decoys = None
        self.updating, self.problem, self._searching = False, problem, False
        self.changed = (
            frozenset()
            if before is None or match is None
            else matching.changed_partners(before, match)
        )
        self.match_changed.emit()
        self.claims_changed.emit()

    def _start_over(self) -> None:
        self._basis = None
        self.match = None
        self.refresh()

    def _on_project_changed(self, _: Project | None) -> None:
        self._forget()
        self._searching = False
        self._start_over()

    def _forget(self) -> None:
        self._latest += 1
        self._session.jobs.forget("match")


def _basis(state: State, project: Project) -> object:
    """Return what a match depends on, to be compared."""
    sides = project.in_vivo(), project.ex_vivo()
    rejected = frozenset(v.pair for v in state.verdicts if v.verdict is Verdict.REJECT)
    return (
        frozenset(state.pairs_between(*sides).items()),
        rejected,
        frozenset(state.none),
        tuple(state.somata.get(name) for name in sides),
        # An index that grew lets crops tell candidates apart.
        sum(1 for _ in project.embeddings_dir.rglob("shard-*")),
        state.adoptions,
    )
