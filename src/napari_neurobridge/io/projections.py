"""Projecting a time series onto one volume or plane, frame by frame."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_neurobridge.io.views import Box, ChannelView, LazyVolume
from napari_neurobridge.types import Projection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_neurobridge.types import Float32Array

_FRAME_BYTES = 2**26
_KEPT_BYTES = 2**28


# Half of the eight neighbours: the other half sees the same pairs from the other side.
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
# Squared deviations of a steady pixel that rounding alone leaves, relative to its square.
_STEADY = (8 * np.finfo(np.float64).eps) ** 2

Float64Array: TypeAlias = npt.NDArray[np.float64]


class RunningProjections:
    """Projections of a time series that is seen once, some frames at a time.

    Parameters
    ----------
    projections : iterable of Projection
        What is to be computed; each costs time of its own.

    Notes
    -----
    Means, squared deviations and products of deviations are joined by the rule of Chan,
    Golub and LeVeque (1983), in float64, so that a bright, steady background costs no
    digits. The local correlation is the mean of Pearson's r with the eight neighbours of
    a pixel (fewer at the border), as in Smith and Häusser (Nature Neuroscience 13:1144,
    2010); r with a pixel that never changes is 0.
    """

    def __init__(self, projections: Iterable[Projection]) -> None:
        self._wanted = frozenset(projections)
        self._spread = not self._wanted.isdisjoint((Projection.STD, Projection.CORRELATION))
        self._count = 0
        self._mean: Float64Array = np.zeros(())
        self._squares: Float64Array = np.zeros(())
        self._products: list[Float64Array] = []
        self._highest: npt.NDArray[Any] | None = None

    def add(self, piece: npt.NDArray[Any]) -> None:
        """Take the next frames, shape (t, ...)."""
        if Projection.MAX in self._wanted:
            top = piece.max(axis=0)
            self._highest = top if self._highest is None else np.maximum(self._highest, top)
        if self._wanted <= {Projection.MAX}:
            return
        n = len(piece)
        piece_mean = piece.mean(axis=0, dtype=np.float64)
        difference = piece_mean - self._mean
        if self._spread:
            weight = self._count * n / (self._count + n)
            self._add_deviations(piece - piece_mean, difference, weight)
        self._mean = self._mean + difference * (n / (self._count + n))
        self._count += n

    def _add_deviations(
        self, deviation: Float64Array, difference: Float64Array, weight: float
    ) -> None:
        """Join a piece's deviations from its own mean, which lies off by ``difference``."""
        squares = np.einsum("t...,t...->...", deviation, deviation)
        self._squares = self._squares + squares + weight * difference**2
        if Projection.CORRELATION not in self._wanted:
            return
        for index, step in enumerate(_NEIGHBOURS):
            here, there = _neighbours(deviation, step)
            product = np.einsum("t...,t...->...", here, there)
            here, there = _neighbours(difference, step)
            product += weight * here * there
            if index < len(self._products):
                self._products[index] += product
            else:
                self._products.append(product)

    def result(self, projection: Projection) -> Float32Array:
        """Return one projection of all frames so far, float32, shape (...)."""
        if projection is Projection.MAX:
            return np.asarray(self._highest, dtype=np.float32)
        if projection is Projection.CORRELATION:
            return self._correlation()
        if projection is Projection.STD:
            return np.sqrt(self._squares / self._count).astype(np.float32)
        return self._mean.astype(np.float32)

    def _correlation(self) -> Float32Array:
        noise = self._count * _STEADY * self._mean**2
        squares = np.where(self._squares <= noise, 0.0, self._squares)
        total, count = np.zeros_like(squares), np.zeros_like(squares)
        for step, product in zip(_NEIGHBOURS, self._products, strict=True):
            here, there = _neighbours(squares, step)
            scale = np.sqrt(here * there)
            steady = scale == 0
            r = np.where(steady, 0.0, product / np.where(steady, 1.0, scale))
            for side_total, side_count in zip(
                _neighbours(total, step), _neighbours(count, step), strict=True
            ):
                side_total += r
                side_count += 1
        return (total / np.maximum(count, 1)).astype(np.float32)


def _neighbours(values: Float64Array, step: tuple[int, int]) -> tuple[Float64Array, Float64Array]:
    """Return views (..., y, x) of all pixels that have a neighbour one step on, and of those."""
    (rows, next_rows), (columns, next_columns) = (_shifted(by) for by in step)
    return values[..., rows, columns], values[..., next_rows, next_columns]


def _shifted(by: int) -> tuple[slice, slice]:
    """Return which places have one ``by`` places on, and which are those."""
    here, there = slice(0, -by or None), slice(by, None)
    return (here, there) if by >= 0 else (slice(-by, None), slice(0, by))


def project_frames(
    pieces: Iterable[npt.NDArray[Any]], projection: Projection = Projection.MEAN
) -> Float32Array:
    """Project frames that come in pieces; the pieces' sizes make no difference.

    Parameters
    ----------
    pieces : iterable of ndarray, each of shape (t, ..., y, x)
        The frames in order, as many at a time as fit into memory.
    projection : Projection
        Mean, maximum, (population) standard deviation over t, or the correlation over t
        with the neighbours.

    Returns
    -------
    ndarray of float32, shape (..., y, x)
    """
    running = RunningProjections([projection])
    for piece in pieces:
        running.add(piece)
    return running.result(projection)


class ProjectedView(LazyVolume):
    """A time series seen as one volume.

    Each plane is projected when it is first needed, in frames that together take
    64 MiB, and kept up to 256 MiB for all planes.

    Parameters
    ----------
    view : ChannelView
        The channel to project.
    n_frames : int
        Length of the time series.
    projection : Projection
        What to compute over time.

    Attributes
    ----------
    n_frames : int
    projection : Projection
    """

    def __init__(self, view: ChannelView, n_frames: int, projection: Projection) -> None:
        super().__init__(view.shape, np.float32, (1, *view.shape[1:]))
        self._view = view
        self.n_frames = n_frames
        self.projection = projection
        self._siblings = {projection: self}
        self._planes: dict[int, Float32Array] = {}
        # The viewer reads from several threads; each plane is to be projected once.
        self._lock = threading.Lock()

    def by(self, projection: Projection) -> ProjectedView:
        """Return the same time series by another projection; each is kept once."""
        with self._lock:
            if projection not in self._siblings:
                other = ProjectedView(self._view, self.n_frames, projection)
                other._siblings = self._siblings
                self._siblings[projection] = other
            return self._siblings[projection]

    def frames(self, box: Box, frames: slice) -> npt.NDArray[Any]:
        """Read one box at several moments, shape (t, z, y, x)."""
        return self._view.load_frames(box, frames)

    def load(self, box: Box) -> Float32Array:
        """Read one box of the projection."""
        depths, *inside = box
        planes = [self._plane(z)[tuple(inside)] for z in range(depths.start, depths.stop)]
        return np.stack(planes) if planes else np.zeros(self.shape, np.float32)[box]

    def _plane(self, z: int) -> Float32Array:
        with self._lock:
            if z not in self._planes:
                plane = self._project(z)
                while self._planes and (len(self._planes) + 1) * plane.nbytes > _KEPT_BYTES:
                    del self._planes[next(iter(self._planes))]
                self._planes[z] = plane
            return self._planes[z]

    def _project(self, z: int) -> Float32Array:
        height, width = self.shape[1:]
        box = (slice(z, z + 1), slice(0, height), slice(0, width))
        # Deviations are float64, whatever the file holds.
        at_once = max(1, _FRAME_BYTES // (8 * height * width))
        return project_frames(
            (
                self._view.load_frames(box, slice(start, min(start + at_once, self.n_frames)))[:, 0]
                for start in range(0, self.n_frames, at_once)
            ),
            self.projection,
        )
