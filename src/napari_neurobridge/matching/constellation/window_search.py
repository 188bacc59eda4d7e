"""What the constellation network says of pairs of windows, under several rotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.constellation.affine_search import (
    LocalAffine,
    ScaledGallery,
    find_local_affine,
    top_candidates,
)
from napari_neurobridge.matching.constellation.windows import (
    common_spacing_um,
    spacing_um,
    trial_rotations,
    windows,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_neurobridge.matching.constellation.model import Constellation

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

_LEAST_PROBABILITY = 0.1


@dataclass(frozen=True)
class SearchParams:
    """How much is tried.

    Attributes
    ----------
    query_window, gallery_window : int
        Somata that the network looks at together, at most 2,000.
    query_windows : int
        At most so many windows of the queries are looked for.
    rotations : int
        About the rough orientation, 1 to 13.
    window_matches : int
        At most so many pairs of windows and rotations are matched if there is a choice.
    best_matches : int
        So many of them, for each window of the queries, are searched for an affine map.
    samples : int
        Samples of four matches in each; see `affine_search`.
    seed : int
        Of the samples.
    """

    query_window: int = 144
    gallery_window: int = 224
    query_windows: int = 3
    rotations: int = 13
    window_matches: int = 240
    best_matches: int = 6
    samples: int = 800
    seed: int = 0


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """Both sides in units of their spacing, the rough orientation applied to the queries.

    Attributes
    ----------
    queries : ndarray, shape (N, 3)
    gallery : ScaledGallery
    codes : tuple of ndarray, shape (N, C) and (M, C), or None
        Of the embeddings.
    """

    queries: Float64Array
    gallery: ScaledGallery
    codes: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None

    @classmethod
    def of(
        cls,
        queries_um: Float64Array,
        gallery_um: Float64Array,
        codes: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None,
    ) -> SearchSpace:
        """Scale queries, already turned, and gallery.

        Raises
        ------
        InputError
            If most somata of a side coincide.
        """
        unit = common_spacing_um(queries_um, gallery_um)
        if unit <= 0:
            raise InputError("Most somata lie in one place; remove duplicates.")
        points, density = gallery_um / unit, (unit / spacing_um(gallery_um)) ** 3
        return cls(queries_um / unit, ScaledGallery(points, cKDTree(points), density), codes)


@dataclass(frozen=True, eq=False)
class WindowResult:
    """What the search for one window of the queries found.

    Attributes
    ----------
    rows : ndarray of int, shape (W,)
        The window.
    maps : tuple of LocalAffine
        Those on which the matches of a region agree, the best first.
    pairs : ndarray of int, shape (K, 2)
        What the network matches, one-to-one, in the window of the gallery and under the
        rotation of the best map.
    confidence : ndarray, shape (K,)
    """

    rows: RowArray
    maps: tuple[LocalAffine, ...]
    pairs: RowArray
    confidence: Float64Array


@dataclass(frozen=True, eq=False)
class _Window:
    """Somata of one side, described as they are or under each of R rotations."""

    rows: RowArray
    positions: Tensor
    described: Tensor


@dataclass(frozen=True, eq=False)
class _WindowMatch:
    """What the network matches in one pair of windows under one rotation."""

    query_rows: RowArray
    gallery_rows: RowArray
    rotation: Float64Array
    probability: npt.NDArray[np.float32]
    score: float

    def mutual(self) -> tuple[RowArray, Float64Array]:
        """Return the pairs that both sides prefer, and their probabilities."""
        forward = self.probability.argmax(axis=1)
        mutual = self.probability.argmax(axis=0)[forward] == np.arange(len(forward))
        rows = np.flatnonzero(mutual & (self.probability.max(axis=1) > _LEAST_PROBABILITY))
        pairs = np.column_stack([self.query_rows[rows], self.gallery_rows[forward[rows]]])
        return pairs, self.probability[rows, forward[rows]].astype(np.float64)


def search_windows(
    space: SearchSpace, network: Constellation, params: SearchParams
) -> Iterator[WindowResult]:
    """Search a gallery for windows of the queries, one after the other.

    Parameters
    ----------
    space : SearchSpace
    network : Constellation
    params : SearchParams

    Yields
    ------
    WindowResult
        Of each window, at most ``params.query_windows``.
    """
    rng = np.random.default_rng(params.seed)
    rows = windows(space.gallery.points, params.gallery_window)
    others = [_describe(network, space, 1, row) for row in rows]
    chosen = _central(space.queries, params)[: max(1, params.window_matches // len(others))]
    count = params.window_matches // (len(chosen) * len(others))
    rotations = trial_rotations(int(np.clip(count, 1, params.rotations)))
    for row in chosen:
        window = _describe(network, space, 0, row, rotations)
        matches = [
            one for other in others for one in _match_windows(network, window, other, rotations)
        ]
        matches.sort(key=lambda one: -one.score)
        tried = [
            (_find_map(space, one, params.samples, rng), one)
            for one in matches[: params.best_matches]
        ]
        found = [(affine, one) for affine, one in tried if affine is not None]
        found.sort(key=lambda both: -both[0].evidence)
        best = found[0][1] if found else matches[0]
        yield WindowResult(row, tuple(affine for affine, _ in found), *best.mutual())


def _central(queries: Float64Array, params: SearchParams) -> list[RowArray]:
    """Return windows of the queries, those first that the gallery most likely shows whole."""
    middle = np.median(queries, axis=0)
    rows = windows(queries, params.query_window)
    rows.sort(key=lambda row: float(((queries[row].mean(axis=0) - middle) ** 2).sum()))
    return rows[: params.query_windows]


def _describe(
    network: Constellation,
    space: SearchSpace,
    side: int,
    rows: RowArray,
    rotations: Float64Array | None = None,
) -> _Window:
    places = (space.queries, space.gallery.points)[side][rows]
    turned = places[None] if rotations is None else places @ rotations.swapaxes(1, 2)
    positions = torch.from_numpy(turned - turned.mean(axis=1, keepdims=True)).float()
    code = None
    if space.codes is not None:
        code = torch.from_numpy(space.codes[side][rows]).expand(len(positions), -1, -1)
    with torch.inference_mode():
        return _Window(rows, positions, network.describe(positions, code))


def _match_windows(
    network: Constellation, queries: _Window, gallery: _Window, rotations: Float64Array
) -> list[_WindowMatch]:
    wide = (len(rotations), -1, -1)
    with torch.inference_mode():
        output = network.match(
            (queries.described, gallery.described.expand(wide)),
            (queries.positions, gallery.positions.expand(wide)),
            every_layer=False,
        )
        assigned = output.log_assignment[-1][:, :-1, :-1].exp()
        scores = assigned.amax(dim=2).sum(dim=1).tolist()
    return [
        _WindowMatch(queries.rows, gallery.rows, rotation, matrix, score)
        for rotation, matrix, score in zip(rotations, assigned.numpy(), scores, strict=True)
    ]


def _find_map(
    space: SearchSpace, one: _WindowMatch, samples: int, rng: np.random.Generator
) -> LocalAffine | None:
    columns, probability = top_candidates(one.probability)
    turned = space.queries[one.query_rows] @ one.rotation.T
    candidates = (one.gallery_rows[columns], probability)
    affine = find_local_affine(turned, space.gallery, candidates, rng, samples=samples)
    return None if affine is None else affine.after(one.rotation)
