"""ALIKED (Zhao et al., IEEE TIM 2023) as kornia implements it, on images with a pixel size."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import numpy as np
import torch
from kornia.feature import ALIKED

from napari_neurobridge.encoder.embed import best_device
from napari_neurobridge.encoder.hub import find_published_file
from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.keypoints import Keypoints

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_neurobridge.registration.keypoints import PlanarImage
    from napari_neurobridge.types import Float32Array

PIXEL_UM = 1.0
"""Pixels that images are brought to; a soma is then as wide as the descriptor looks."""

_SOURCE = (
    "https://raw.githubusercontent.com/Shiaoming/ALIKED/"
    "683d7c65197395c0b3f01ebe76e1084a27e73a65/models/{}.pth"
)
VARIANTS = {
    "aliked-n16": "5be8704840ed662d9d8c561bf7279c222092674e7eb05fd0feab94899e9d82f2",
    "aliked-n16rot": "ddf3abbf38e86f6a74540d214e1a9712c54b2d8551abc864542199f2347d7332",
}
"""SHA-256 of the authors' weights (BSD-3-Clause); "rot" has seen photographs turned."""

_TILE, _HALO = 768, 64  # pixels; both together take 1.3 GiB of memory
# What torch raises when it reads what is no file of tensors.
_DAMAGED = (OSError, EOFError, RuntimeError, TypeError, ValueError, LookupError, UnpicklingError)
_COMPUTED = {"dkd.hw_grid"}  # entries of the network that no file of weights holds


@dataclass(frozen=True, eq=False)
class Aliked:
    """An extractor that was trained on photographs.

    Attributes
    ----------
    name : str
        Of the variant.
    network : ALIKED
        In evaluation mode.
    """

    name: str
    network: ALIKED

    @classmethod
    def load(cls, variant: str = "aliked-n16rot", *, weights: Path | None = None) -> Aliked:
        """Load the authors' weights.

        Parameters
        ----------
        variant : str
            One of `VARIANTS`.
        weights : Path, optional
            A file of weights; by default the published one, which is downloaded at first use, see
            :func:`napari_neurobridge.encoder.hub.find_published_file`.

        Raises
        ------
        InputError
            If there is no such variant, or the weights cannot be had, are damaged or are others.
        """
        if variant not in VARIANTS:
            raise InputError(f"There is no ALIKED named {variant!r}, but {' and '.join(VARIANTS)}.")
        path = weights or find_published_file(_SOURCE.format(variant), sha256=VARIANTS[variant])
        # Both off: every peak above the image's mean score; the caller says how many it wants.
        network = ALIKED(variant, max_num_keypoints=-1, detection_threshold=0.0)
        try:
            missing, unknown = network.load_state_dict(
                torch.load(path, map_location="cpu", weights_only=True), strict=False
            )
        except _DAMAGED as error:
            raise InputError(f"{path} holds no weights of {variant}.") from error
        if set(missing) - _COMPUTED or unknown:
            raise InputError(f"{path} holds weights of something else than {variant}.")
        return cls(variant, network.eval().to(best_device()))

    def extract(self, image: PlanarImage, count: int) -> Keypoints:
        """Return at most ``count`` keypoints, best first.

        Parameters
        ----------
        image : PlanarImage
            Brought to `PIXEL_UM` and standardised here.
        count : int

        Returns
        -------
        Keypoints
            With unit vectors of length 128.

        Raises
        ------
        InputError
            If the image is too small for pixels of `PIXEL_UM`.

        Notes
        -----
        Large images are seen in overlapping tiles; of what a tile finds, that in its own part
        counts.
        """
        values = image.resampled(PIXEL_UM).standardised()
        found = [self._in_tile(values, tile) for tile in _tiles(*values.shape)]
        return Keypoints(
            np.concatenate([part.positions_um for part in found]),
            np.concatenate([part.scores for part in found]),
            np.concatenate([part.descriptors for part in found]),
        ).strongest(count)

    @torch.inference_mode()
    def _in_tile(self, values: Float32Array, tile: _Tile) -> Keypoints:
        top, left = (max(0, start - _HALO) for start in tile.start)
        part = values[top : tile.stop[0] + _HALO, left : tile.stop[1] + _HALO]
        device = next(self.network.parameters()).device
        seen = torch.from_numpy(np.ascontiguousarray(part))[None, None].to(device)
        features = self.network(seen)[0]
        pixels = features.keypoints.cpu().numpy()[:, ::-1] + np.array([top, left], dtype=np.float64)
        found = Keypoints(
            pixels * PIXEL_UM,
            features.keypoint_scores.cpu().numpy(),
            features.descriptors.cpu().numpy(),
        )
        # Between two tiles lies half a pixel that belongs to the pixel before it.
        own = (pixels >= np.subtract(tile.start, 0.5)) & (pixels < np.subtract(tile.stop, 0.5))
        return found.take(own.all(axis=1))


@dataclass(frozen=True)
class _Tile:
    """A tile's own pixels, half-open."""

    start: tuple[int, int]
    stop: tuple[int, int]


def _tiles(height: int, width: int) -> Iterator[_Tile]:
    """Cut an image into tiles of about equal size."""
    cuts = [
        np.linspace(0, length, -(-length // _TILE) + 1).astype(int) for length in (height, width)
    ]
    for (top, bottom), (left, right) in itertools.product(*map(itertools.pairwise, cuts)):
        yield _Tile((int(top), int(left)), (int(bottom), int(right)))
