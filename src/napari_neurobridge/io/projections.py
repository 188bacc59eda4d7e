"""Projecting a time series onto one volume or plane, frame by frame."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_neurobridge.io.views import Box, ChannelView, LazyVolume
from napari_neurobridge.types import Projection

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from napari_neurobridge.types import Float32Array

_FRAME_BYTES = 2**26
_KEPT_BYTES = 2**28


def project_frames(
    pieces: Iterable[npt.NDArray[Any]], projection: Projection = Projection.MEAN
) -> Float32Array:
    """Project frames that come in pieces; the pieces' sizes make no difference.

    Parameters
    ----------
    pieces : iterable of ndarray, each of shape (t, ...)
        The frames in order, as many at a time as fit into memory.
    projection : Projection
        Mean, maximum, or (population) standard deviation over t.

    Returns
    -------
    ndarray of float32, shape (...)

    Notes
    -----
    Means and squared deviations are joined by the rule of Chan, Golub and LeVeque
    (1983), in float64, so that a bright, steady background costs no digits.
    """
    count = 0
    mean: npt.NDArray[Any] = np.zeros(())
    squares: npt.NDArray[Any] = np.zeros(())
    highest: npt.NDArray[Any] | None = None
    for piece in pieces:
        if projection is Projection.MAX:
            top = piece.max(axis=0)
            highest = top if highest is None else np.maximum(highest, top)
            continue
        n = len(piece)
        piece_mean = piece.mean(axis=0, dtype=np.float64)
        if projection is Projection.STD:
            between = (piece_mean - mean) ** 2 * (count * n / (count + n))
            squares = squares + ((piece - piece_mean) ** 2).sum(axis=0) + between
        mean = mean + (piece_mean - mean) * (n / (count + n))
        count += n
    if projection is Projection.MAX:
        return np.asarray(highest, dtype=np.float32)
    result = np.sqrt(squares / count) if projection is Projection.STD else mean
    return np.asarray(result, dtype=np.float32)


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
    """

    def __init__(self, view: ChannelView, n_frames: int, projection: Projection) -> None:
        super().__init__(view.shape, np.float32, (1, *view.shape[1:]))
        self._view = view
        self._n_frames = n_frames
        self._projection = projection
        self._planes: dict[int, Float32Array] = {}
        # The viewer reads from several threads; each plane is to be projected once.
        self._lock = threading.Lock()

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
                self._view.load_frames(box, slice(start, min(start + at_once, self._n_frames)))[
                    :, 0
                ]
                for start in range(0, self._n_frames, at_once)
            ),
            self._projection,
        )
