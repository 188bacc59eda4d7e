"""What would be claimed where there is nothing to find."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_neurobridge.matching.calibration import Calibration, claimable
from napari_neurobridge.matching.candidate_field import CandidateField
from napari_neurobridge.matching.decoy_galleries import SPACINGS, SomataLayout, decoy_galleries
from napari_neurobridge.matching.propagation.propagate import run_propagation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_neurobridge.matching.decoy_galleries import DecoyGallery
    from napari_neurobridge.matching.posterior import Posterior
    from napari_neurobridge.matching.propagation.propagate import Propagation, PropagationProblem
    from napari_neurobridge.types import FloatArray, Report

BoolArray = npt.NDArray[np.bool_]

Judging = Literal["again", "grown", "grown_same_chance"]
"""How a decoy is asked; see `decoy_claims`."""

JUDGINGS: tuple[Judging, ...] = ("again", "grown")

_IN_WORDS = {
    "again": "matched again",
    "grown": "under the same alignment",
    "grown_same_chance": "under the same alignment, with the same chance of a partner",
}
# No query reaches farther than this many standard deviations of the places where nine in ten
# partners are expected.
_DEVIATIONS, _REACHED = 6.0, 0.9
# A place is empty when its somata are rarer than this share of those at the true place.
_EMPTY = 0.5
_NEIGHBOURS = 8
# A decoy that asks less than this share of what another asks is not the worst: 1 of 5 says little.
_ENOUGH_ASKED = 0.5
# The chance of a partner in a decoy is estimated anew in so many rounds, or until it rests.
_CHANCE_ROUNDS, _CHANCE_TOLERANCE = 20, 1e-3


@dataclass(frozen=True)
class DecoyClaims:
    """What was claimed in one decoy.

    Attributes
    ----------
    decoy : str
        What was done to the gallery, such as "shifted 60 µm within the plane".
    judging : {"again", "grown", "grown_same_chance"}
        See `decoy_claims`.
    n_claimed, n_asked : int
        Claims, and queries asked.
    n_followed : int
        Queries not counted, because their claim named the soma that the match itself names,
        in its new place: who finds the whole constellation where it was moved to does not err.
    """

    decoy: str
    judging: Judging
    n_claimed: int
    n_asked: int
    n_followed: int = 0

    @property
    def share(self) -> float:
        """Claims among the queries asked; 0 if there are none."""
        return self.n_claimed / self.n_asked if self.n_asked else 0.0


@dataclass(frozen=True)
class DecoyCheck:
    """What was claimed among somata none of which is the partner, in several decoys.

    Attributes
    ----------
    claims : tuple of DecoyClaims
        Of each decoy and each way to judge it.
    """

    claims: tuple[DecoyClaims, ...]

    @property
    def worst(self) -> DecoyClaims:
        """The one with the largest share of claims, of those that ask enough queries."""
        enough = _ENOUGH_ASKED * max(row.n_asked for row in self.claims)
        asking = [row for row in self.claims if row.n_asked >= enough]
        return max(asking, key=lambda row: (row.share, row.n_asked))

    @property
    def n_claimed(self) -> int:
        """Claims in the worst."""
        return self.worst.n_claimed

    @property
    def n_asked(self) -> int:
        """Queries asked in the worst; 0 where the field is too small for any decoy."""
        return self.worst.n_asked

    @property
    def share(self) -> float:
        """Share claimed in the worst."""
        return self.worst.share

    @property
    def n_decoys(self) -> int:
        """Galleries that were made."""
        return len(self.claims) // len({row.judging for row in self.claims})

    def in_words(self) -> str:
        """Return one sentence without its full stop, such as "worst of 6 decoys: 3 of 250 …"."""
        worst = self.worst
        return (
            f"worst of {self.n_decoys} decoys: {worst.n_claimed} of {worst.n_asked} cells matched "
            f"({worst.decoy}, {_IN_WORDS[worst.judging]})"
        )


def decoy_claims(
    problem: PropagationProblem,
    fdr: float,
    *,
    found: Propagation | None = None,
    calibration: Calibration | None = None,
    orientation: FloatArray | None = None,
    adapt: bool = True,
    judgings: Sequence[Judging] = JUDGINGS,
    seed: int = 0,
    report: Report | None = None,
) -> DecoyCheck:
    """Ask for partners in galleries that hold none, and count what would be claimed.

    All somata of the gallery but the landmarks' are moved together within the manifold
    that they lie in (`decoy_galleries`): as dense and as clustered as before where cells are
    expected, but without a true partner. Appearances move along.

    Each decoy is judged in two ways. *Again*: matched anew from the landmarks, as the program
    would. *Grown*: under the alignment of the match, with the chance of a partner estimated anew,
    since that is a finding about a gallery and no part of the map. A third, *with the same chance*,
    keeps what the true gallery taught. Its claims are those of cells whose partner alone is
    missing, of which a rate of 5 % of false claims allows as many as such cells are rare: it
    must not be compared with that rate itself, and is not made unless asked for.

    Queries whose place in the decoy is empty, at a border or nearer to the true partner than
    the move is long, are not asked.

    Parameters
    ----------
    problem : PropagationProblem
    fdr : float
        Expected share of false claims.
    found : Propagation, optional
        Of the problem; made if not given.
    calibration : Calibration, optional
        Of the confidences.
    orientation, adapt
        That ``found`` was matched with; see `propagate`.
    judgings : sequence of {"again", "grown", "grown_same_chance"}
    seed : int
        Draws the directions of the shifts.
    report : callable, optional
        Called as ``report(done, total, message)``. Each decoy takes one match.
    """
    found = found or run_propagation(problem, orientation=orientation, adapt=adapt)
    calibration = calibration or Calibration()
    others = np.ones(len(problem.queries_um), dtype=np.bool_)
    others[problem.pairs[:, 0]] = False
    reach = _reach_um(found)
    layout = SomataLayout.of(problem.gallery_um)
    distance = max(SPACINGS * layout.spacing_um, reach)
    decoys = list(decoy_galleries(layout, distance, reach, seed))
    claims = []
    for number, decoy in enumerate(decoys):
        gallery = decoy.moved_um.copy()
        gallery[problem.pairs[:, 1]] = problem.gallery_um[problem.pairs[:, 1]]
        moved = replace(problem, gallery_um=gallery)
        asked = others & _askable(layout, decoy, found)
        for judging in judgings:
            told = _told(report, number, len(decoys))
            told()
            if judging == "again":
                judged = run_propagation(
                    moved, orientation=orientation, adapt=adapt, on_progress=told
                ).posterior
            else:
                judged = _judged(found, moved, asked if judging == "grown" else None)
            claims.append(
                _count(decoy.name, judging, calibration.recalibrated(judged), found, asked, fdr)
            )
    return DecoyCheck(tuple(claims))


def _told(report: Report | None, number: int, count: int) -> Callable[..., None]:
    """Return what tells that a decoy is under way, and so hears of a cancellation in it."""

    def tell(_: object = None) -> None:
        if report is not None:
            report(number, count, f"decoy {number + 1} of {count}")

    return tell


def _count(
    name: str, judging: Judging, judged: Posterior, found: Propagation, asked: BoolArray, fdr: float
) -> DecoyClaims:
    """Count the claims of the queries asked."""
    claimed = claimable(judged.confidence[asked], fdr)
    followed = claimed & (judged.best[asked] == found.posterior.best[asked])
    n_followed = int(followed.sum())
    return DecoyClaims(
        name, judging, int(claimed.sum()) - n_followed, int(asked.sum()) - n_followed, n_followed
    )


def _judged(found: Propagation, decoy: PropagationProblem, asked: BoolArray | None) -> Posterior:
    """Return the posterior of a decoy gallery under the alignment of a match.

    Parameters
    ----------
    found : Propagation
    decoy : PropagationProblem
    asked : ndarray of bool, shape (N,), or None
        Queries from which the chance of a partner is estimated anew; as it was, if None.
    """
    setup = replace(found.state.setup, problem=decoy, gallery=CandidateField(decoy.gallery_um))
    state = replace(found.state, setup=setup)
    judged = state.query_posterior()[0]
    if asked is None or not asked.any():
        return judged
    rows = np.flatnonzero(asked)
    for _ in range(_CHANCE_ROUNDS):
        before = state.p_partner
        chance = state.presence.updated(
            setup.origin_um[rows], setup.p_detected[rows], judged.none[rows]
        )
        state = replace(state, presence=chance)
        judged = state.query_posterior()[0]
        if np.abs(state.p_partner - before).max() < _CHANCE_TOLERANCE:
            break
    return judged


def _reach_um(found: Propagation) -> float:
    """Return how far somata must move to be out of reach of the queries they were near."""
    sigma = found.sigma_um[found.active] if found.active.any() else found.sigma_um
    return float(_DEVIATIONS * np.quantile(sigma, _REACHED))


def _askable(layout: SomataLayout, decoy: DecoyGallery, found: Propagation) -> BoolArray:
    """Return the queries at whose place the decoy has other somata, and enough, (N,)."""
    expected, gallery = found.predicted_um, layout.points_um
    true = cKDTree(gallery)
    count = min(_NEIGHBOURS, len(gallery))
    reach, decoy_reach = (
        np.asarray(tree.query(expected, k=[count])[0])[:, 0]
        for tree in (true, cKDTree(decoy.moved_um))
    )
    enough = decoy_reach**layout.rank * _EMPTY <= reach**layout.rank
    nearest = np.asarray(true.query(expected)[1])
    # Shifts move all alike; near the plane of a mirror somata hardly move.
    gone = np.linalg.norm(decoy.moved_um[nearest] - gallery[nearest], axis=1)
    return np.asarray(enough & (gone >= 0.99 * decoy.distance_um))
