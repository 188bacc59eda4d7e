"""Generated fields of somata with known partners, from parts that are not the matcher's prior.

A field is tissue (`fields_tissue`), deformed (`fields_deformation`), of which one microscope sees
all and the other a part in a frame of its own. Deformations are waves, shear bands, tears and
compression, never a Gaussian process. Each field is a pure function of its kind and seed.

Seeds from 0 to 99 are for choosing and debugging methods; reported figures use seeds from 100 on.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from napari_neurobridge.benchmarks.fields_kinds import KINDS, FieldKind, Geometry
from napari_neurobridge.benchmarks.points import PointPairs
from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.benchmarks.fields_deformation import Displacement

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

FIRST_REPORTED_SEED = 100
"""Smaller seeds are for choosing."""

CONTROLS = ("shifted", "unrelated")
"""Galleries that hold no partner but the landmarks'."""

# Landmarks in a corner lie among so many cells nearest to it; a wrong one of two is so near.
_CORNER_CELLS, _NEIGHBOURS = 30, 6
_DUPLICATE_UM = (3.0, 6.0)
_SHIFT_UM = 60.0
# Streams of random numbers, so that other tissue can be had in the same maps.
_TISSUE, _MAPS, _OBSERVATION, _OTHER_TISSUE = range(4)


@dataclass(frozen=True, eq=False)
class GeneratedField:
    """A generated field.

    Attributes
    ----------
    kind : str
    seed : int
    pairs : PointPairs
        A query's partner is the first detection of its soma.
    query_soma, gallery_soma : ndarray of int, shape (N,) and (M,)
        Number of the soma that each detection is of: to name any detection of it is right.
    n_landmarks : int
        Of the kind, unless others are asked for.
    """

    kind: str
    seed: int
    pairs: PointPairs
    query_soma: RowArray
    gallery_soma: RowArray
    n_landmarks: int

    def right(self, named: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return whether each query's named row of the gallery is its soma; -1 names none."""
        rows = np.asarray(named, dtype=np.intp)
        return np.asarray((rows >= 0) & (self.gallery_soma[rows] == self.query_soma))

    def draw_landmarks(self, rng: np.random.Generator, count: int | None = None) -> RowArray:
        """Return rows of queries and gallery, shape (L, 2), as the kind lays them out.

        Parameters
        ----------
        rng : numpy.random.Generator
        count : int, optional
            Otherwise as many as the kind has.

        Raises
        ------
        InputError
            If there are not so many cells to draw from.
        """
        kind, count = KINDS[self.kind], count or self.n_landmarks
        first = np.unique(self.query_soma, return_index=True)[1]
        able = first[self.pairs.partner[first] >= 0]
        if kind.corner:
            points = self.pairs.queries_um[able]
            corner = np.where(rng.random(3) < 0.5, points.min(axis=0), points.max(axis=0))
            near = np.argsort(np.linalg.norm(points - corner, axis=1))
            able = able[near[: max(_CORNER_CELLS, count)]]
        if len(able) < count:
            raise InputError(f"There are only {len(able)} cells with a partner to draw from.")
        chosen = rng.choice(able, count, replace=False)
        partner = self.pairs.partner[chosen].copy()
        for number in range(round(kind.wrong * count)):
            partner[number] = self._wrong_partner(partner[number], number % 2 == 0, rng)
        return np.column_stack([chosen, partner])

    def _wrong_partner(self, right: int, near: bool, rng: np.random.Generator) -> int:
        gallery = self.pairs.gallery_um
        others = np.flatnonzero(self.gallery_soma != self.gallery_soma[right])
        if near:
            tree = cKDTree(gallery[others])
            others = others[tree.query(gallery[right], k=_NEIGHBOURS)[1]]
        return int(rng.choice(others))

    def control(self, landmarks: RowArray, how: str) -> tuple[GeneratedField, RowArray]:
        """Put a gallery in which nothing but the landmarks can be right.

        Parameters
        ----------
        landmarks : ndarray of int, shape (L, 2)
            Their somata stay where they are.
        how : str
            ``shifted``: all others 60 µm along the somata's longest extent, so that those of a
            plane stay in it; ``unrelated``: other tissue through the same maps.

        Returns
        -------
        GeneratedField
        ndarray of int, shape (L, 2)
            The landmarks in it.

        Raises
        ------
        InputError
            If there is no such control.
        """
        if how not in CONTROLS:
            raise InputError(f"There is no control '{how}'; choose {', '.join(CONTROLS)}.")
        gallery = self.pairs.gallery_um
        kept = np.unique(landmarks[:, 1])
        if how == "shifted":
            centred = gallery - gallery.mean(axis=0)
            along = np.linalg.eigh(centred.T @ centred)[1][:, -1]
            rest = np.delete(gallery, kept, axis=0) + _SHIFT_UM * along
        else:
            rest = _build(self.kind, self.seed, _OTHER_TISSUE).pairs.gallery_um
        rows = np.column_stack([landmarks[:, 0], np.searchsorted(kept, landmarks[:, 1])])
        soma = np.concatenate([self.gallery_soma[kept], np.full(len(rest), -1, dtype=np.intp)])
        partner = np.full(len(self.query_soma), -1, dtype=np.intp)
        partner[rows[:, 0]] = np.where(
            soma[rows[:, 1]] == self.query_soma[rows[:, 0]], rows[:, 1], -1
        )
        pairs = PointPairs(self.pairs.queries_um, np.vstack([gallery[kept], rest]), partner)
        return replace(self, pairs=pairs, gallery_soma=soma), rows


def make_field(kind: str, seed: int) -> GeneratedField:
    """Return a field of a kind.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    seed : int
        Below 100 for choosing, from 100 on for reporting.

    Raises
    ------
    InputError
        If there is no such kind.
    """
    if kind not in KINDS:
        raise InputError(f"There is no kind of field '{kind}'; choose {', '.join(KINDS)}.")
    return _build(kind, seed, _TISSUE)


def _build(name: str, seed: int, tissue_stream: int) -> GeneratedField:
    kind = KINDS[name]
    number = zlib.crc32(name.encode())

    def stream(which: int) -> np.random.Generator:
        return np.random.default_rng([seed, number, which])

    maps, seen = stream(_MAPS), stream(_OBSERVATION)
    geometry = kind.geometry(maps)
    tissue = geometry.tissue.draw(stream(tissue_stream))
    # Stated sizes hold where the field is, before it is known exactly which cells that are.
    reference = np.random.default_rng(0).uniform(-0.5, 0.5, (2000, 3)) * geometry.field_um
    bend = _total([part.draw(maps, reference) for part in kind.bends])
    gallery_bend = _total([part.draw(maps, reference) for part in kind.gallery_bends])
    placed = tissue + bend(tissue)
    queries = _choose_queries(placed, geometry, seen)
    gallery = _choose_gallery(tissue, queries, kind, seen)
    queries_um = placed[queries] + kind.noise.draw(len(queries), seen)
    gallery_um = tissue[gallery] + gallery_bend(tissue[gallery])
    gallery_um = gallery_um @ _linear(geometry, maps).T + maps.uniform(-500, 500, 3)
    queries_um, queries = _with_duplicates(queries_um, queries, kind.duplicates, seen)
    gallery_um, gallery = _with_duplicates(gallery_um, gallery, kind.duplicates, seen)
    if geometry.flat:
        queries_um[:, 0] = 0.0
    # The last to be written is the first detection.
    row = np.full(len(tissue), -1, dtype=np.intp)
    row[gallery[::-1]] = np.arange(len(gallery))[::-1]
    pairs = PointPairs(queries_um, gallery_um, row[queries])
    return GeneratedField(name, seed, pairs, queries, gallery, kind.landmarks)


def _total(parts: Sequence[Displacement]) -> Displacement:
    def displacement(points: Float64Array) -> Float64Array:
        return np.asarray(sum((part(points) for part in parts), np.zeros_like(points)))

    return displacement


def _choose_queries(placed: Float64Array, geometry: Geometry, rng: np.random.Generator) -> RowArray:
    inside = np.flatnonzero((np.abs(placed) <= np.asarray(geometry.field_um) / 2).all(axis=1))
    return np.asarray(rng.permutation(inside)[: geometry.n_queries])


def _choose_gallery(
    tissue: Float64Array, queries: RowArray, kind: FieldKind, rng: np.random.Generator
) -> RowArray:
    """Return the somata that the gallery holds, in random order."""
    keep = rng.random(len(tissue)) >= kind.missing
    if kind.overlap < 1:
        angle = rng.uniform(0, 2 * np.pi)
        along = tissue @ np.array([0.0, np.sin(angle), np.cos(angle)])
        keep &= along <= np.quantile(along[queries], kind.overlap)
    return np.asarray(rng.permutation(np.flatnonzero(keep)))


def _linear(geometry: Geometry, rng: np.random.Generator) -> Float64Array:
    """Return a rotation of a scale along each axis, (3, 3)."""
    if geometry.any_rotation:
        rotation = Rotation.random(rng=rng)
    else:
        # The first axis is z.
        rotation = Rotation.from_rotvec([rng.uniform(0, 2 * np.pi), 0.0, 0.0])
    return np.asarray(rotation.as_matrix() * np.exp(rng.uniform(-0.16, 0.14, 3)))


def _with_duplicates(
    points: Float64Array, somata: RowArray, share: float, rng: np.random.Generator
) -> tuple[Float64Array, RowArray]:
    """Append a second detection of some somata, some µm from the first."""
    twice = np.flatnonzero(rng.random(len(points)) < share)
    way = rng.normal(size=(len(twice), 3))
    way *= rng.uniform(*_DUPLICATE_UM, (len(twice), 1)) / np.linalg.norm(way, axis=1, keepdims=True)
    return np.vstack([points, points[twice] + way]), np.concatenate([somata, somata[twice]])
