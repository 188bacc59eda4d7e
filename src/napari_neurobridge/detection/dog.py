"""Somata by a multi-scale difference of Gaussians, block by block."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from napari_neurobridge.detection.candidates import (
    SHELL_RADII,
    SomaCandidates,
    find_candidates,
    not_suppressed,
)
from napari_neurobridge.detection.filters import SCALE_STEP, difference_of_gaussians, reach_um
from napari_neurobridge.detection.working_grid import WorkingGrid
from napari_neurobridge.io.blocks import Block, Index3, iter_blocks
from napari_neurobridge.types import USUAL_SOMA_DIAMETER_UM

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.types import Float32Array, Report

_VOXELS_PER_RADIUS = 3
_SAMPLE_SIDE = 48
_MAD_TO_SIGMA = 1.4826


class DogParams(BaseModel):
    """What counts as a soma."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    soma_diameter_um: Annotated[float, Field(gt=0.5, lt=500)] = Field(
        default=USUAL_SOMA_DIAMETER_UM,
        title="Soma diameter (µm)",
        description="Usual diameter; somata from 0.7 to 1.5 times as wide are found.",
    )
    threshold: Annotated[float, Field(ge=0)] = Field(
        default=4.0,
        title="Threshold (noise)",
        description="Least answer of the filter, in standard deviations of the noise.",
    )
    relative_threshold: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.1,
        title="Threshold (of typical somata)",
        description="Least contrast, as part of that of the volume's typical soma.",
    )
    filled: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.7,
        title="Filled",
        description="Least contrast of the core, as part of what a filled ball would have; "
        "raise it where fibres are taken for somata, lower it for hollow somata.",
    )
    min_distance_um: Annotated[float, Field(gt=0)] = Field(
        default=8.0,
        title="Least distance (µm)",
        description="Of two closer somata only the brighter is kept.",
    )
    block_um: Annotated[float, Field(gt=0)] = Field(
        default=250.0,
        title="Block size (µm)",
        description="Side of the pieces that are worked on; the somata do not depend on it.",
    )


@dataclass(frozen=True)
class Detection:
    """The somata of a volume, brightest first.

    Attributes
    ----------
    centers_um : ndarray, shape (N, 3)
        µm, (z, y, x).
    radius_um : ndarray, shape (N,)
        Radius of the best-fitting ball.
    confidence : ndarray, shape (N,)
        By the difference of Gaussians, from 0.5 at the threshold towards 1 for somata of much more
        contrast; of a segmenter, the probability of the soma's middle.
    """

    centers_um: npt.NDArray[np.float64]
    radius_um: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.centers_um)


def detect_somata(
    volume: Volume,
    params: DogParams | None = None,
    *,
    report: Report | None = None,
) -> Detection:
    """Find bright, filled, ball-shaped cell bodies (discs, in a plane).

    Parameters
    ----------
    volume : Volume
        Read block by block, from the stored resolution that suits the soma size.
    params : DogParams, optional
        What counts as a soma.
    report : callable, optional
        Called as ``report(done, total, message)``; it may raise to cancel.

    Returns
    -------
    Detection
        The same for every block size; nothing found is no error.

    Raises
    ------
    InputError
        If the volume holds NaN pixels or cannot be read.

    Notes
    -----
    Peaks of a scale-normalised difference of Gaussians (Lindeberg 1998) at three radii
    are candidates. Each is then measured by a low percentile of its core less the median
    of the shell around it, which fibres and their crossings do not pass. Thresholds are
    relative to statistics of the whole volume, never of a block. A soma whose centre lies
    beyond a face of the volume is left out.
    """
    params = params or DogParams()
    search = _Search.prepare(volume, params)
    blocks = list(iter_blocks(search.grid.shape, search.voxels(params.block_um), search.halo))
    noise = search.noise()
    minimum = max(params.threshold * noise, float(np.finfo(np.float32).tiny))
    found = []
    for done, block in enumerate(blocks):
        if report is not None:
            report(done, len(blocks), f"looking for somata in {volume.name}")
        image = search.grid.read(block.outer_start, block.outer_stop)
        found.append(search.candidates(image, block, minimum))
    if report is not None:
        report(len(blocks), len(blocks), f"looking for somata in {volume.name}")
    return _select(search.in_um(SomaCandidates.joined(found)), params, minimum)


@dataclass(frozen=True)
class _Search:
    """The grid and the scales of one detection."""

    grid: WorkingGrid
    radii_um: tuple[float, ...]

    @classmethod
    def prepare(cls, volume: Volume, params: DogParams) -> _Search:
        radius = params.soma_diameter_um / 2
        radii = (radius / SCALE_STEP, radius, radius * SCALE_STEP)
        return cls(WorkingGrid.choose(volume, radius / _VOXELS_PER_RADIUS), radii)

    @property
    def halo(self) -> Index3:
        n_dimensions = 2 if self.grid.is_plane else 3
        reach = max(reach_um(self.radii_um, n_dimensions), SHELL_RADII[1] * self.radii_um[-1])
        z, y, x = self.voxels(reach)
        return z + 1, y + 1, x + 1

    def voxels(self, length_um: float) -> Index3:
        z, y, x = (max(1, math.ceil(length_um / size)) for size in self.grid.voxel_um)
        return z, y, x

    def candidates(self, image: Float32Array, block: Block, min_response: float) -> SomaCandidates:
        return find_candidates(
            image,
            block,
            volume_shape=self.grid.shape,
            radii_um=self.radii_um,
            voxel_um=self.grid.voxel_um,
            min_response=min_response,
        )

    def in_um(self, found: SomaCandidates) -> SomaCandidates:
        positions = found.positions * self.grid.voxel_um + self.grid.origin_um
        return replace(found, positions=positions)

    def noise(self) -> float:
        """Estimate the filter's standard deviation where there is no soma.

        It is the median absolute deviation over sample cubes that are spread over the
        volume and do not depend on the blocks. Somata are too few to weigh in a median.
        """
        samples = []
        for block in _sample_blocks(self.grid.shape, self.halo):
            image = torch.from_numpy(self.grid.read(block.outer_start, block.outer_stop))
            answers = difference_of_gaussians(image, self.radii_um, self.grid.voxel_um)
            samples.append(answers[1][block.inner].numpy().ravel())
        values = np.concatenate(samples)
        return float(_MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))))


def _sample_blocks(shape: Index3, halo: Index3) -> list[Block]:
    """Return a few cubes at fixed places; more of them along the longer axes."""
    starts = []
    for length in shape:
        count = min(3, max(1, length // (2 * _SAMPLE_SIDE)))
        middles = (np.arange(count) + 0.5) / count * length
        starts.append(np.clip(middles - _SAMPLE_SIDE / 2, 0, None).astype(int).tolist())
    side = (_SAMPLE_SIDE, _SAMPLE_SIDE, _SAMPLE_SIDE)
    return [
        Block.at((z, y, x), side, shape=shape, halo=halo) for z, y, x in itertools.product(*starts)
    ]


def _select(found: SomaCandidates, params: DogParams, minimum: float) -> Detection:
    """Keep what has contrast enough, and of neighbours the brighter one."""
    # The core's contrast is a low percentile, hence smaller than the filter's answer.
    minimum /= 2
    filled = found.contrast > params.filled * found.response
    found = found.take(filled & (found.contrast > minimum))
    if len(found):
        minimum = max(minimum, params.relative_threshold * _typical_contrast(found.contrast))
        found = found.take(found.contrast > minimum)
    found = found.take(np.lexsort((*found.positions.T[::-1], -found.response)))
    reach = np.maximum(params.min_distance_um, found.radius_um)
    found = found.take(not_suppressed(found.positions, reach))
    return Detection(found.positions, found.radius_um, 1 - minimum / found.contrast / 2)


def _typical_contrast(contrast: npt.NDArray[np.float64]) -> float:
    """Return the median contrast, each candidate weighing as much as its square.

    Fibres and noise give many times more candidates than somata do, all of low
    contrast; the squares let the somata decide.
    """
    ordered = np.sort(contrast)
    weight = np.cumsum(ordered**2)
    return float(ordered[np.searchsorted(weight, weight[-1] / 2)])
