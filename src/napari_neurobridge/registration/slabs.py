"""Somata of whole volumes and of recordings by the feature network, which sees planes.

A volume is cut into overlapping slabs across the two-photon optical axis, each is projected to a
plane, and what neighbouring slabs show at one place is one soma.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.projections import RunningProjections
from napari_neurobridge.registration.keypoints import LEAST_SIDE, Keypoints, PlanarImage
from napari_neurobridge.types import Projection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from napari_neurobridge.registration.feature_points import FeatureExtractor
    from napari_neurobridge.types import Report, Vec3

Float64Array = npt.NDArray[np.float64]

PIXEL_UM = 1.0
"""Pixels of the projections: those that the network was trained on."""
RECORDING = (Projection.MEAN, Projection.MAX)
"""What is looked at of a recording: what is bright at rest, and what lights up."""
# A tile shows so much beyond what is kept of it: the reach of the network and of the standardising
# of its surroundings.
_MARGIN_UM = 48.0


class SliceableVolume(Protocol):
    """An array (z, y, x) of which boxes can be read: NumPy, Dask, zarr or a level of a `Volume`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along z, y and x."""
        ...

    def __getitem__(self, key: Any, /) -> Any:
        """Read a box."""
        ...


@dataclass(frozen=True)
class SlabParams:
    """How a volume is cut into slabs, and what one soma is.

    Attributes
    ----------
    thickness_um, step_um : float
        Of a slab, and from one to the next.
    least_probability : float
        Of a soma in at least one slab.
    apart_um, apart_depth_um : float
        What slabs show closer than this in the plane and along the axis is one soma: the radius
        of a usual one, and its diameter with half of a slab.
    tile_um : float
        Larger slabs are looked at in tiles of about this side.
    """

    thickness_um: float = 10.0
    step_um: float = 5.0
    least_probability: float = 0.35
    apart_um: float = 7.0
    apart_depth_um: float = 20.0
    tile_um: float = 1000.0

    def __post_init__(self) -> None:
        lengths = (self.thickness_um, self.step_um, self.apart_um, self.apart_depth_um)
        if not all(np.isfinite(length) and length > 0 for length in (*lengths, self.tile_um)):
            raise InputError("Thickness, step and sizes of slabs must be positive µm.")


def volume_somata(
    volume: SliceableVolume,
    voxel_size_um: Vec3,
    extractor: FeatureExtractor,
    *,
    axis: int = 0,
    params: SlabParams | None = None,
    report: Report | None = None,
) -> Keypoints:
    """Find the somata of a volume by the feature network, slab by slab.

    No more of the volume is in memory than one tile of some slabs.

    Parameters
    ----------
    volume : SliceableVolume, shape (Z, Y, X)
    voxel_size_um : Vec3
    extractor : FeatureExtractor
    axis : int
        Of the volume, along which the two-photon microscope looks.
    params : SlabParams, optional
    report : callable, optional
        Called as ``report(done, total, message)`` before each slab; may raise to cancel.

    Returns
    -------
    Keypoints
        Middles of somata, µm (z, y, x) from the middle of the first voxel; the surest first,
        scored by their probability in the slab that shows them best. The place along the axis is
        the mean of the slabs that show the soma, weighted by their probabilities.

    Raises
    ------
    InputError
        If the volume has not three axes or is thinner than 16 µm across, a voxel size is no
        positive number, there is no such axis, or voxels are NaN or infinite.
    """
    params = params or SlabParams()
    cuts = _Cuts.of(volume, voxel_size_um, axis, params)
    total = len(cuts.tiles) * len(cuts.middles_um)
    found = [Keypoints.at(np.empty((0, 3)))]
    for number, tile in enumerate(cuts.tiles):
        for place, (middle_um, values) in enumerate(_projections(volume, cuts, tile)):
            if report is not None:
                report(number * len(cuts.middles_um) + place, total, "looking for somata")
            if values.min() == values.max():
                continue
            image = PlanarImage.squared(values, cuts.steps_um, PIXEL_UM)
            somata = extractor.describe(image).somata(params.least_probability)
            found.append(_placed(somata, middle_um, tile, cuts))
    return merged(_joined(found), (params.apart_depth_um, params.apart_um), axis=axis)


def recording_somata(
    pieces: Iterable[npt.NDArray[Any]],
    pixel_um: float,
    extractor: FeatureExtractor,
    *,
    projections: tuple[Projection, ...] = RECORDING,
    params: SlabParams | None = None,
) -> Keypoints:
    """Find the somata of a recorded plane in its projections over time.

    Parameters
    ----------
    pieces : iterable of ndarray, shape (t, H, W)
        The frames in order, as many at a time as fit into memory.
    pixel_um : float
    extractor : FeatureExtractor
    projections : tuple of Projection
        A soma that several of them show counts once.
    params : SlabParams, optional

    Returns
    -------
    Keypoints
        µm (y, x), the surest first.

    Raises
    ------
    InputError
        If there is no projection or no frame, or a projection is no image.
    """
    running, count = RunningProjections(projections), 0
    for piece in pieces:
        running.add(piece)
        count += len(piece)
    if not count or not projections:
        raise InputError("A recording needs at least one frame and one projection over time.")
    planes = [PlanarImage.of(running.result(projection), pixel_um) for projection in projections]
    return planes_somata(planes, extractor, params=params)


def planes_somata(
    planes: Sequence[PlanarImage], extractor: FeatureExtractor, *, params: SlabParams | None = None
) -> Keypoints:
    """Find the somata that several images of one plane show; one that several show counts once.

    Parameters
    ----------
    planes : sequence of PlanarImage
        One or more, such as projections of one recording.
    extractor : FeatureExtractor
    params : SlabParams, optional

    Returns
    -------
    Keypoints
        µm (y, x), the surest first.
    """
    params = params or SlabParams()
    found = []
    for plane in planes:
        somata = extractor.describe(plane).somata(params.least_probability)
        found.append(Keypoints.at(_deepened(somata.positions_um, 0, 0.0), scores=somata.scores))
    together = merged(_joined(found), (params.apart_depth_um, params.apart_um))
    return Keypoints.at(together.positions_um[:, 1:], scores=together.scores)


def merged(somata: Keypoints, apart_um: tuple[float, float], *, axis: int = 0) -> Keypoints:
    """Return one soma for all that is found at one place, the surest first.

    The surest is taken, what lies near it belongs to it, and so on with what is left.

    Parameters
    ----------
    somata : Keypoints
        In space.
    apart_um : tuple of float
        Half axes, along the axis and across it, of the ellipsoid about a soma that holds no other.
    axis : int

    Returns
    -------
    Keypoints
        At the means of what belongs together, weighted by the scores; the highest score of each.
    """
    scale = np.full(3, apart_um[1])
    scale[axis] = apart_um[0]
    order = np.argsort(-somata.scores, kind="stable")
    positions, scores = somata.positions_um[order], somata.scores[order].astype(np.float64)
    near = cKDTree(positions / scale).query_ball_point(positions / scale, 1.0)
    owner = np.full(len(order), -1)
    for row, others in enumerate(near):
        if owner[row] < 0:
            free = [other for other in others if owner[other] < 0]
            owner[free] = row
    kept, group = np.unique(owner, return_inverse=True)
    weights = np.bincount(group, scores)
    places = [np.bincount(group, scores * column) / weights for column in positions.T]
    return Keypoints.at(np.stack(places, axis=1), scores=scores[kept])


@dataclass(frozen=True)
class _FaceTile:
    """Half-open voxels across the axis: what is read, and where what is kept of it lies, µm."""

    start: tuple[int, int]
    stop: tuple[int, int]
    low_um: tuple[float, float]
    high_um: tuple[float, float]


@dataclass(frozen=True, eq=False)
class _Cuts:
    """Where a volume is cut: slabs along the axis, tiles across it."""

    axis: int
    across: tuple[int, int]
    depth_um: float
    steps_um: tuple[float, float]
    middles_um: Float64Array
    slabs: tuple[tuple[int, int], ...]
    tiles: tuple[_FaceTile, ...]
    chunk: int

    @classmethod
    def of(
        cls, volume: SliceableVolume, voxel_size_um: Vec3, axis: int, params: SlabParams
    ) -> _Cuts:
        if len(volume.shape) != 3 or axis not in range(3):
            raise InputError(
                f"Slabs are cut across axis 0, 1 or 2 of a volume (z, y, x), not across axis {axis}"
                f" of an array of shape {tuple(volume.shape)}."
            )
        size = np.asarray(voxel_size_um, dtype=np.float64)
        if size.shape != (3,) or not (np.isfinite(size) & (size > 0)).all():
            raise InputError(f"The voxel size of a volume must be positive µm, not {size}.")
        first, second = (other for other in range(3) if other != axis)
        depth, count = float(size[axis]), volume.shape[axis]
        half = params.thickness_um / 2
        last = (count - 1) * depth
        # As evenly as the step allows, so that the last slab is no thinner than the others.
        reach = max(last - params.thickness_um, 0.0)
        middles = np.linspace(0, reach, int(np.ceil(reach / params.step_um)) + 1)
        middles += min(half, last / 2)
        slabs = tuple(
            (max(int(np.ceil((m - half) / depth - 1e-9)), 0), int((m + half) / depth + 1e-9) + 1)
            for m in middles.tolist()
        )
        steps = float(size[first]), float(size[second])
        tiles = _tiles((volume.shape[first], volume.shape[second]), steps, params.tile_um)
        chunks = getattr(volume, "chunks", None)
        # Dask tells the length of each chunk.
        chunk = 1 if chunks is None else int(np.max(chunks[axis]))
        return cls(axis, (first, second), depth, steps, middles, slabs, tiles, chunk)


def _tiles(
    shape: tuple[int, int], steps_um: tuple[float, float], tile_um: float
) -> tuple[_FaceTile, ...]:
    """Cut a face into tiles of about one size, that overlap by what the network sees beyond."""
    sides = []
    for count, step in zip(shape, steps_um, strict=True):
        if count * step < LEAST_SIDE * PIXEL_UM:
            raise InputError(
                f"A volume of {count * step:g} µm across the axis is too small to find somata in."
            )
        pieces = max(round(count * step / tile_um), 1)
        edges = np.round(np.linspace(0, count, pieces + 1)).astype(int)
        margin = int(np.ceil(_MARGIN_UM / step))
        sides.append(
            [
                (
                    max(low - margin, 0),
                    min(high + margin, count),
                    (low - 0.5) * step if low else -np.inf,
                    (high - 0.5) * step if high < count else np.inf,
                )
                for low, high in itertools.pairwise(edges.tolist())
            ]
        )
    return tuple(
        _FaceTile(*((one[k], other[k]) for k in range(4)))  # type: ignore[arg-type]  # four pairs
        for one, other in itertools.product(*sides)
    )


def _projections(
    volume: SliceableVolume, cuts: _Cuts, tile: _FaceTile
) -> Iterator[tuple[float, npt.NDArray[np.float32]]]:
    """Yield the middle and the brightest voxels of each slab of a tile; chunks are read once."""
    box = [slice(None)] * 3
    for other, start, stop in zip(cuts.across, tile.start, tile.stop, strict=True):
        box[other] = slice(start, stop)
    held: npt.NDArray[Any] | None = None
    first = end = 0
    count = volume.shape[cuts.axis]
    for middle, (start, stop) in zip(cuts.middles_um.tolist(), cuts.slabs, strict=True):
        stop = min(stop, count)
        if held is not None:
            held, first = held[start - first :], start
        while end < stop:
            low = start if held is None else end
            high = min(max(low // cuts.chunk * cuts.chunk + cuts.chunk, low + 1), count)
            box[cuts.axis] = slice(low, high)
            read = np.moveaxis(np.asarray(volume[tuple(box)]), cuts.axis, 0)
            held = read if held is None else np.concatenate([held, read])
            first, end = (low if first > low or end == 0 else first), high
        assert held is not None
        yield middle, held[: stop - first].max(axis=0).astype(np.float32)


def _placed(somata: Keypoints, middle_um: float, tile: _FaceTile, cuts: _Cuts) -> Keypoints:
    """Return the somata of a slab that lie in what is kept of a tile, in space."""
    shift = np.multiply(tile.start, cuts.steps_um)
    places = somata.positions_um + shift
    kept = ((places >= tile.low_um) & (places < tile.high_um)).all(axis=1)
    return Keypoints.at(_deepened(places[kept], cuts.axis, middle_um), scores=somata.scores[kept])


def _deepened(points_um: Float64Array, axis: int, depth_um: float) -> Float64Array:
    return np.insert(points_um, axis, depth_um, axis=1)


def _joined(somata: list[Keypoints]) -> Keypoints:
    return Keypoints.at(
        np.concatenate([one.positions_um for one in somata]),
        scores=np.concatenate([one.scores for one in somata]),
    )
