"""Two sets of points matched from a few known pairs, without a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.matching.bounds import Bounds
from napari_neurobridge.matching.calibration import COORDINATES
from napari_neurobridge.matching.conformal import DEFAULT_COVERAGE, ConformalSets
from napari_neurobridge.matching.match import Match
from napari_neurobridge.matching.propagation.problem import PropagationProblem
from napari_neurobridge.matching.propagation.propagate import run_propagation
from napari_neurobridge.matching.sides import Side
from napari_neurobridge.spaces.affine import as_points

if TYPE_CHECKING:
    from collections.abc import Sequence

QUERIES, GALLERY = "queries", "gallery"
"""Names of the two spaces."""


def match_point_sets(
    queries_um: npt.ArrayLike,
    gallery_um: npt.ArrayLike,
    pairs: Sequence[tuple[int, int]],
    *,
    orientation: npt.ArrayLike | None = None,
) -> Match:
    """Match two sets of points; see `napari_neurobridge.match_points`.

    Uids are row numbers behind the first letter of the side, such as ``q17``; see `row_of`.

    Raises
    ------
    InputError
        If points are no finite numbers in µm, or a pair names a row that is not there.
    """
    sides = (_side(QUERIES, queries_um), _side(GALLERY, gallery_um))
    rows = np.asarray(pairs, dtype=np.intp).reshape(-1, 2)
    linear = None if orientation is None else np.asarray(orientation, dtype=np.float64)
    # As in a project: matches grow from the side with fewer points.
    swapped = len(sides[1]) < len(sides[0])
    here, there = reversed(sides) if swapped else sides
    problem = PropagationProblem(
        here.centers_um, there.centers_um, rows[:, ::-1] if swapped else rows
    )
    if linear is not None and swapped:
        linear = np.asarray(np.linalg.inv(linear), dtype=np.float64)
    found = run_propagation(problem, orientation=linear)
    return Match(
        queries=here,
        gallery=there,
        queries_in_vivo=not swapped,
        problem=problem,
        propagation=found,
        posterior=COORDINATES.recalibrated(found.posterior),
        accepted=frozenset((query, soma) for query, soma in problem.pairs.tolist()),
        orientation=linear,
        alignment=found.grown_alignment(
            here.dataset,
            there.dataset,
            orientation=linear is not None,
            n_pairs=len(problem.pairs),
        ),
        calibration=COORDINATES,
        sets=ConformalSets(DEFAULT_COVERAGE, DEFAULT_COVERAGE, 0),
        bounds={side.dataset: Bounds.of_somata(side.centers_um) for side in sides},
    )


def _side(name: str, points_um: npt.ArrayLike) -> Side:
    points = as_points(points_um)
    # With leading zeros, so that uids in order are rows in order.
    digits = len(str(max(len(points) - 1, 0)))
    return Side(name, tuple(f"{name[0]}{row:0{digits}d}" for row in range(len(points))), points)


def row_of(uid: str) -> int:
    """Return the row of the array that a uid of `match_point_sets` stands for."""
    return int(uid[1:])
