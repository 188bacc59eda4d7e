"""What matches of real planes are compared with: known pairs, pictures, and decoys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from scipy.spatial import cKDTree

from napari_neurobridge.benchmarks.effort_projects import EX_VIVO, IN_VIVO
from napari_neurobridge.benchmarks.real_pairs import rank_partners
from napari_neurobridge.io.crops import CropSpec
from napari_neurobridge.matching.appearance.gallery import load_gallery
from napari_neurobridge.matching.appearance.likelihood import Margins
from napari_neurobridge.training.evaluation_report import GATE_UM
from napari_neurobridge.workflows.match import Claims

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.matching.decoys import DecoyCheck
    from napari_neurobridge.matching.match import Match
    from napari_neurobridge.project.folder import Project

RowArray = npt.NDArray[np.intp]

STARTED_RIGHT = 0.6
"""A field starts right if for this share of the known pairs the first candidate is right."""


class Pictures(BaseModel, frozen=True):
    """Whether pictures alone, ranked by cosine, name the cell that is said to be the partner."""

    n: int = Field(description="Pairs asked.")
    within_40um: float = Field(description="First among the cells within 40 µm of it.")
    n_inside: int = Field(
        description="Of these, those whose crop reaches less than half its radius out of the image."
    )
    within_40um_inside: float | None = Field(description="As `within_40um`, of those.")
    within_40um_relative: float = Field(
        description="As `within_40um`, by what the program uses: how much more alike the two are "
        "than either with the other's neighbours."
    )
    among_53: float = Field(description="First in a random gallery of 53.")
    among_all: float = Field(description="First of all cells of the other side.")
    chance_40um: float = Field(description="The first of these figures, were the order random.")


class DecoyFigure(BaseModel, frozen=True):
    """Claims in one decoy, judged in one way; see `DecoyClaims`."""

    decoy: str
    judging: str
    n_claimed: int
    n_asked: int
    n_followed: int

    @property
    def share(self) -> float:
        """Claimed of those asked; 0 if there are none."""
        return self.n_claimed / self.n_asked if self.n_asked else 0.0


class RealTrial(BaseModel, frozen=True):
    """One draw of landmarks, compared with the known pairs that were not given."""

    known: bool = Field(description="Whether the program matched at all; else it does not know.")
    top1: float = Field(0.0, description="Known pairs that are the first candidate.")
    claimed: float = Field(0.0, description="Of all in-vivo cells that were not given.")
    coverage: float = Field(0.0, description="Known pairs that are claimed, and so.")
    agreement: float | None = Field(
        None, description="Of the claims of cells whose partner is known; None without any."
    )
    p_partner: float = 0.0
    pictures: Pictures | None = None
    n_contradicted: int = Field(0, description="Claims of another partner than the known one.")
    n_sided: int = Field(
        0, description="Of these, those whose crop is more like the claimed partner's."
    )
    decoys: tuple[DecoyFigure, ...] = ()
    seconds: float = 0.0


def score_match(match: Match, partner: Mapping[str, str], given: set[str], fdr: float) -> RealTrial:
    """Compare what a match claims with the known pairs that it was not given.

    Parameters
    ----------
    match : Match
    partner : mapping of str to str
        Ex-vivo uid of each in-vivo cell whose partner is known.
    given : set of str
        In-vivo cells whose partner was accepted.
    fdr : float
    """
    left = {uid: other for uid, other in partner.items() if uid not in given}
    claims = {pair[0]: pair[1] for pair in claimed_pairs(match, fdr)}
    judged = {uid: claims[uid] == other for uid, other in left.items() if uid in claims}
    first = [match.first_uncalibrated(uid) for uid in left]
    named = [
        pair is not None and pair[0] == other
        for pair, other in zip(first, left.values(), strict=True)
    ]
    right = sum(judged.values())
    return RealTrial(
        known=True,
        top1=float(np.mean(named)),
        claimed=len(claims) / (len(match.side(IN_VIVO)) - len(given)),
        coverage=right / len(left),
        agreement=right / len(judged) if judged else None,
        p_partner=match.propagation.mean_p_partner,
    )


def claimed_pairs(match: Match, fdr: float) -> list[tuple[str, str, float]]:
    """Return in-vivo uid, ex-vivo uid and probability of what is claimed and was not given."""
    return [
        (pair.in_vivo_uid, pair.ex_vivo_uid, pair.probability)
        for pair in Claims.of(match, fdr).pairs
        if not pair.accepted
    ]


class Witness:
    """The pictures of a project, which know nothing of places.

    Parameters
    ----------
    project : Project
        Completely indexed.
    encoder : Encoder
        Whose index it is.
    """

    def __init__(self, project: Project, encoder: Encoder) -> None:
        sides = [load_gallery(project, encoder, name) for name in (IN_VIVO, EX_VIVO)]
        self._rows = [{uid: row for row, uid in enumerate(side.uids)} for side in sides]
        self._vectors = [side.embeddings for side in sides]
        state = project.state()
        here, self._places = (
            np.array([state.somata[name][uid].center_um for uid in side.uids])
            for name, side in zip((IN_VIVO, EX_VIVO), sides, strict=True)
        )
        self._margins = Margins(self._vectors[0], self._vectors[1], here, self._places)
        self._near = cKDTree(self._places)
        volume = project.volume(IN_VIVO)
        far = np.array(volume.shape[1:]) * volume.voxel_size_um[1:]
        border = np.minimum(here[:, 1:], far - here[:, 1:]).min(axis=1)
        self._inside = border >= CropSpec().size_um / 4

    def rank(self, pairs: Sequence[tuple[str, str]]) -> Pictures | None:
        """Rank the ex-vivo cells of some pairs for their in-vivo ones; None without any."""
        if not pairs:
            return None
        queries, partner = (
            np.array([self._rows[side][pair[side]] for pair in pairs]) for side in (0, 1)
        )
        vectors = self._vectors[0][queries], self._vectors[1]
        ranks = rank_partners(*vectors, partner, self._places)
        figures = ranks.figures()
        inside = self._inside[queries]
        near = figures["top1_40um"]
        return Pictures(
            n=len(pairs),
            within_40um=float(near.mean()),
            n_inside=int(inside.sum()),
            within_40um_inside=float(near[inside].mean()) if inside.any() else None,
            within_40um_relative=float(np.mean(self._first_by_margin(queries, partner))),
            among_53=float(figures["top1_53"].mean()),
            among_all=float(figures["top1"].mean()),
            chance_40um=float((1.0 / ranks.n_near).mean()),
        )

    def _first_by_margin(self, queries: RowArray, partner: RowArray) -> list[bool]:
        first = []
        for query, soma in zip(queries, partner, strict=True):
            rows = np.array(self._near.query_ball_point(self._places[soma], GATE_UM))
            margin = self._margins.between(np.full(len(rows), query), rows)
            others = margin[rows != soma]
            first.append(bool(margin[rows == soma][0] > others.max(initial=-np.inf)))
        return first

    def prefers(self, uid: str, one: str, other: str) -> bool:
        """Return whether an in-vivo cell looks more like one ex-vivo cell than another."""
        here = self._vectors[0][self._rows[0][uid]]
        first, second = (here @ self._vectors[1][self._rows[1][name]] for name in (one, other))
        return bool(first > second)

    def ask(
        self, pairs: Sequence[tuple[str, str]], partner: Mapping[str, str]
    ) -> dict[str, object]:
        """Return what it says of some claims, as fields of `RealTrial`."""
        against = [pair for pair in pairs if partner.get(pair[0], pair[1]) != pair[1]]
        sided = [self.prefers(here, there, partner[here]) for here, there in against]
        return {
            "pictures": self.rank(pairs),
            "n_contradicted": len(against),
            "n_sided": sum(sided),
        }


def decoy_figures(check: DecoyCheck) -> tuple[DecoyFigure, ...]:
    """Return a check's claims."""
    return tuple(
        DecoyFigure(
            decoy=row.decoy,
            judging=row.judging,
            n_claimed=row.n_claimed,
            n_asked=row.n_asked,
            n_followed=row.n_followed,
        )
        for row in check.claims
    )


def pooled(trials: Sequence[RealTrial]) -> tuple[DecoyFigure, ...]:
    """Add up the decoys of several draws, in order; the lengths of the shifts may differ."""
    found = [trial.decoys for trial in trials if trial.decoys]
    return tuple(
        DecoyFigure(
            decoy=same[0].decoy,
            judging=same[0].judging,
            n_claimed=sum(row.n_claimed for row in same),
            n_asked=sum(row.n_asked for row in same),
            n_followed=sum(row.n_followed for row in same),
        )
        for same in zip(*found, strict=True)
    )
