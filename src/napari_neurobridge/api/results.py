"""What the public face returns: results that know how to become a table or a figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.match_points import GALLERY, QUERIES, row_of
from napari_neurobridge.spaces.plane_surface import SPACING_UM
from napari_neurobridge.types import DEFAULT_FDR
from napari_neurobridge.workflows.match import Claims
from napari_neurobridge.workflows.surface import surface_of_match

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.figure import Figure

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.insight.evaluation import Evaluation
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.matching.decoys import DecoyCheck
    from napari_neurobridge.matching.match import Match
    from napari_neurobridge.training.evaluation_report import EvaluationReport
    from napari_neurobridge.workflows.rank import RankedCell
    from napari_neurobridge.workflows.surface import MappedPlane

_RANKED = (
    "uid", "z_um", "y_um", "x_um", "similarity", "residual_um", "probability", "in_set",
)  # fmt: skip


def ranking_table(ranked: RankedCell) -> pd.DataFrame:
    """Return a ranking as a table; see `OpenProject.rank`."""
    ranking = ranked.ranking
    rows = [
        (c.uid, *c.center_um, c.similarity, c.residual_um, c.probability, c.in_set)
        for c in ranking.candidates
    ]
    index = pd.Index([c.rank for c in ranking.candidates], name="rank")
    table = pd.DataFrame(rows, columns=list(_RANKED), index=index)
    numbers = ["similarity", "residual_um", "probability"]
    table[numbers] = table[numbers].astype(float)
    table.attrs.update(
        p_none=ranking.p_none,
        basis=str(ranking.basis),
        model=ranking.model,
        note=" ".join(filter(None, (ranking.note, ranked.model_note))),
    )
    return table


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """How well a model finds the partners of known pairs.

    Attributes
    ----------
    model : str
        Name and hash.
    evaluation : Evaluation
        What the Insight dock and the report show, too.
    """

    model: str
    evaluation: Evaluation

    @classmethod
    def of(cls, encoder: Encoder, pairs: PairSet) -> EvaluationResult:
        """Evaluate an encoder on pairs of crops."""
        from napari_neurobridge.insight.evaluation import evaluate
        from napari_neurobridge.matching.appearance.gallery import model_label

        return cls(model_label(encoder), evaluate(pairs, encoder))

    @property
    def report(self) -> EvaluationReport:
        """The papers' protocol: top-k, recall, specificity, AUC."""
        return self.evaluation.report

    def plot(self, figure: str = "top-k") -> Figure:
        """Draw a figure; a notebook shows it.

        Parameters
        ----------
        figure : str
            "top-k": how often the partner is among the first k; or "best-matches",
            "confusion", "heat-maps", "densities", "boxes", "t-sne".

        Raises
        ------
        InputError
            If there is no such figure, or there are too few pairs for it.
        """
        from napari_neurobridge.insight.evaluation_figures import (
            EvaluationFigure,
            draw_evaluation,
        )

        if figure not in list(EvaluationFigure):
            known = ", ".join(EvaluationFigure)
            raise InputError(f"There is no figure '{figure}'; draw one of {known}.")
        drawn = draw_evaluation(EvaluationFigure(figure), self.evaluation)
        if drawn is None:
            raise InputError(f"There are too few pairs to draw the figure '{figure}'.")
        return drawn


class MatchResult:
    """All cells of two datasets matched at once.

    Parameters
    ----------
    match : Match
        What the library's own functions take.
    """

    def __init__(self, match: Match) -> None:
        self.match = match

    def __repr__(self) -> str:
        first, second = self.datasets
        return f"<match of {first} and {second}, made from {self.match.alignment.made_from}>"

    @property
    def datasets(self) -> tuple[str, str]:
        """The two datasets, the in-vivo one first."""
        here, there = self.match.datasets
        return (here, there) if self.match.queries_in_vivo else (there, here)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know, in sentences."""
        return self.match.notes

    def pairs(self, fdr: float = DEFAULT_FDR) -> pd.DataFrame:
        """Return the pairs that may be claimed when a share of them may be wrong.

        Parameters
        ----------
        fdr : float
            That share.

        Returns
        -------
        DataFrame
            Columns ``<in-vivo dataset>_uid, <ex-vivo dataset>_uid, probability, residual_um,
            score_um, accepted``; ``attrs["expected_false"]`` says how many are expected to
            be wrong.

        Raises
        ------
        InputError
            If ``fdr`` is not between 0 and 1.
        """
        claims = Claims.of(self.match, fdr)
        columns = [*(f"{name}_uid" for name in self.datasets), "probability", "residual_um"]
        table = pd.DataFrame(
            [
                (p.in_vivo_uid, p.ex_vivo_uid, p.probability, p.residual_um, p.score_um, p.accepted)
                for p in claims.pairs
            ],
            columns=[*columns, "score_um", "accepted"],
        )
        table.attrs["expected_false"] = claims.expected_false
        return table

    def candidates(self, uid: str) -> pd.DataFrame:
        """Return the possible partners of one soma of either side, most probable first.

        Returns
        -------
        DataFrame
            Columns ``uid, probability``; ``attrs`` holds ``p_none`` and ``p_elsewhere``, the
            probability of somata that are not listed.

        Raises
        ------
        InputError
            If the soma was not matched.
        """
        judged, other = self.match.judge(uid), self.match.others(uid)
        table = pd.DataFrame(
            {"uid": [other.uids[row] for row in judged.rows], "probability": judged.probability}
        )
        table.attrs.update(p_none=judged.none, p_elsewhere=judged.beyond)
        return table

    def map_points(
        self, points_um: npt.ArrayLike, source: str, target: str
    ) -> npt.NDArray[np.float64]:
        """Map points (N, 3), µm (z, y, x), between the two spaces.

        Raises
        ------
        InputError
            If a space is not one of the two, or the map cannot be inverted there.
        """
        return self.match.map_points(points_um, source, target)

    def plane_surface(self, spacing_um: float = SPACING_UM) -> MappedPlane:
        """Return the surface on which one side's cells lie in the other's space.

        Parameters
        ----------
        spacing_um : float
            Side of a mesh, in the plane's own space.

        Returns
        -------
        MappedPlane
            ``surface`` holds ``vertices_um`` (V, 3), ``faces`` (F, 3) and ``sigma_um`` (V,), the
            standard deviation along the normal; ``space`` is the side that it lies in.

        Raises
        ------
        InputError
            If neither side's somata lie in one plane.
        """
        return surface_of_match(self.match, spacing_um)

    def decoys(self, fdr: float = DEFAULT_FDR) -> DecoyCheck:
        """Move the other side so that no partner is there, and count what would be claimed.

        Several ways to move it within its plane, sheet or volume are tried, each matched again
        and judged under the same alignment; ``n_claimed``, ``n_asked`` and ``in_words()`` are
        of the worst, and ``claims`` lists all.
        """
        return self.match.decoys(fdr)


class PointMatchResult(MatchResult):
    """Two sets of points matched; their rows take the place of uids."""

    def pairs(self, fdr: float = DEFAULT_FDR) -> pd.DataFrame:
        """As `MatchResult.pairs`, with columns ``query`` and ``gallery``: rows of the arrays."""
        table = super().pairs(fdr)
        named = {f"{QUERIES}_uid": "query", f"{GALLERY}_uid": "gallery"}
        table = table.rename(columns=named)
        for column in named.values():
            table[column] = table[column].map(row_of).astype(int)
        return table

    def candidates(self, query: int) -> pd.DataFrame:  # type: ignore[override]
        """As `MatchResult.candidates`, for a row of the queries; column ``gallery`` for ``uid``.

        Raises
        ------
        InputError
            If there is no such row.
        """
        side = self.match.side(QUERIES)
        if not 0 <= query < len(side):
            raise InputError(f"There is no query {query}; they count from 0 to {len(side) - 1}.")
        table = super().candidates(side.uids[query]).rename(columns={"uid": "gallery"})
        table["gallery"] = table["gallery"].map(row_of).astype(int)
        return table
