"""Dense features of a vision transformer over an image of any size, and sampling them at points."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import grid_sample

from napari_neurobridge.encoder.dual_channel import backbone_config, standardize
from napari_neurobridge.encoder.embed import Encoder, best_device
from napari_neurobridge.encoder.global_channel import GlobalChannel
from napari_neurobridge.encoder.hub import published_backbone
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import normalize_crops
from napari_neurobridge.models.current import bundled_model
from napari_neurobridge.types import CROP_UM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from napari_neurobridge.registration.keypoints import PlanarImage
    from napari_neurobridge.types import Float32Array, Report

_BATCH = 16


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Features on a regular grid over an image.

    Attributes
    ----------
    values : ndarray of float32, shape (C, h, w)
    origin_um : float
        Where the first feature lies, along y and along x, from the first pixel's centre.
    step_um : float
        Distance of neighbouring features.
    """

    values: Float32Array
    origin_um: float
    step_um: float

    def sample(self, points_um: npt.ArrayLike) -> Float32Array:
        """Interpolate bilinearly; beyond the outermost features they are repeated.

        Parameters
        ----------
        points_um : array_like, shape (N, 2)
            (y, x) in the image.

        Returns
        -------
        ndarray of float32, shape (N, C)

        Raises
        ------
        InputError
            If the points are not (N, 2) finite numbers.
        """
        points = np.asarray(points_um, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise InputError(
                f"Features are sampled at points of shape (N, 2) in (y, x), not {points.shape}."
            )
        if not np.isfinite(points).all():
            raise InputError("The points to sample features at hold NaN or infinite coordinates.")
        last = np.maximum(np.subtract(self.values.shape[1:], 1), 1)
        relative = 2 * (points - self.origin_um) / (self.step_um * last) - 1
        grid = torch.from_numpy(relative[None, None, :, ::-1].astype(np.float32))
        sampled = grid_sample(
            torch.from_numpy(self.values)[None], grid, padding_mode="border", align_corners=True
        )
        return np.ascontiguousarray(sampled[0, :, 0].numpy().T)


class SemanticFeatures:
    """The patch tokens of a transformer that was trained on images of one size.

    Its position embedding knows that size only. An image is therefore seen in windows of it that
    overlap by half; where windows overlap, tokens are averaged, and those near the middle of
    their window, which see all their surroundings, weigh most.

    Parameters
    ----------
    channel : GlobalChannel
        The transformer with what comes before it.
    window : int
        Side of the images that it was made for, pixels.
    pixel_um : float
        Side of their pixels.
    name : str
        What results cite.
    prepare : callable, optional
        Makes of windows (B, 1, P, P) in [0, 1] what the channel reads; they are standardised
        unless given.

    Raises
    ------
    InputError
        If the backbone is no transformer that cuts such images into whole patches.
    """

    def __init__(
        self,
        channel: GlobalChannel,
        window: int,
        pixel_um: float,
        name: str,
        prepare: Callable[[Tensor], Tensor] = standardize,
    ) -> None:
        self.channel = channel.eval().to(best_device())
        self._prepare = prepare
        self.window = window
        self.pixel_um = pixel_um
        self.name = name
        reduction = math.prod(channel.config.stem_strides)
        self._grid = channel.layout.grid[0]
        self._patch = -(-window // (reduction * self._grid)) * reduction
        if channel.layout.order != "tokens" or self._patch * self._grid > window + self._patch:
            raise InputError(f"{name} does not cut images of {window} pixels into patches.")
        # Pixels of the stem's maps are centred on every so many pixels of the image, from the
        # first one on; a patch is centred between its own.
        self._first = (self._patch - reduction) / 2

    @classmethod
    def of_encoder(cls, folder: Path | None = None) -> SemanticFeatures:
        """Use the global channel of an encoder of crops, the bundled one by default.

        Raises
        ------
        InputError
            If the folder holds no encoder, or its global channel is not trained or no transformer.
        """
        encoder = Encoder.load(folder or bundled_model())
        config = encoder.config
        if config.channels == "local":
            raise InputError(f"The encoder {encoder.name} has no trained global channel.")
        window = config.global_channel.image_size or config.crop_pixels
        name = f"{encoder.name}@{encoder.hash}"
        model = encoder.model
        return cls(model.global_channel, window, CROP_UM / window, name, model.prepared)

    @classmethod
    def of_backbone(
        cls,
        name: str,
        *,
        pretrained: bool = True,
        window: int | None = None,
        pixel_um: float = 1.0,
    ) -> SemanticFeatures:
        """Use a transformer of timm by its name.

        Parameters
        ----------
        name : str
            Such as ``"vit_small_patch16_dinov3.lvd1689m"``.
        pretrained : bool
            With its published weights, see :func:`napari_neurobridge.encoder.hub.find_weights`;
            otherwise with random ones.
        window : int, optional
            Side of the windows that it sees, pixels; by default of the images that it was
            trained on.
        pixel_um : float
            Side of the pixels that it is shown.

        Raises
        ------
        InputError
            If timm knows no such model, its weights cannot be had, or the window does not suit it.
        """
        side = window or published_backbone(name).size
        config = backbone_config(name, pretrained=pretrained, image_size=side).global_channel
        return cls(GlobalChannel(config, side, dim=1), side, pixel_um, config.vit)

    def map(self, image: PlanarImage, *, report: Report | None = None) -> FeatureMap:
        """Return features of a whole image.

        Parameters
        ----------
        image : PlanarImage
            Of any pixel size. Each window is stretched as crops are, by
            :func:`napari_neurobridge.io.crops.normalize_crops`; what lies outside the image is 0.
        report : callable, optional
            Called as ``report(done, total, message)``; it may raise to cancel.

        Returns
        -------
        FeatureMap
            Vectors as the transformer gives them, of no particular length.
        """
        values = image.resampled(self.pixel_um).values
        rows, columns = (self._count(length) for length in values.shape)
        tops, lefts = (self._starts(length) for length in values.shape)
        places = list(itertools.product(tops, lefts))
        total = np.zeros((rows, columns, self.channel.layout.width), dtype=np.float32)
        weight = np.zeros((rows, columns, 1), dtype=np.float32)
        fade = _fading(self._grid)
        for start in range(0, len(places), _BATCH):
            batch = places[start : start + _BATCH]
            for (top, left), tokens in zip(batch, self._tokens(values, batch), strict=True):
                own = np.s_[top // self._patch :, left // self._patch :]
                height, width = (min(self._grid, n) for n in total[own].shape[:2])
                total[own][:height, :width] += (fade * tokens)[:height, :width]
                weight[own][:height, :width] += fade[:height, :width]
            if report is not None:
                report(start + len(batch), len(places), f"looking with {self.name}")
        values = np.ascontiguousarray((total / weight).transpose(2, 0, 1))
        return FeatureMap(values, self._first * self.pixel_um, self._patch * self.pixel_um)

    def describe(self, image: PlanarImage, points_um: npt.NDArray[np.float64]) -> Float32Array:
        """Return unit vectors (N, C) of points (N, 2) of an image, free of what all of it shares.

        Mean and deviation of each component over the image say how it was taken more than what
        it shows; with 0 and 1 instead, vectors of two microscopes can be compared by their dot
        product.
        """
        features = self.map(image)
        mean, deviation = features.values.mean(axis=(1, 2)), features.values.std(axis=(1, 2))
        vectors = (features.sample(points_um) - mean) / np.maximum(deviation, 1e-6)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        described: Float32Array = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
        return described

    def _count(self, length: int) -> int:
        """Return how many tokens are centred on pixels of an image of some length."""
        return max(1, int((length - 1 - self._first) // self._patch) + 1)

    def _starts(self, length: int) -> list[int]:
        """Return where windows start, on whole tokens and with no more beyond than it takes."""
        last = -(-max(0, length - self.window) // self._patch) * self._patch
        return [*range(0, last, max(1, self._grid // 2) * self._patch), last]

    @torch.inference_mode()
    def _tokens(self, values: Float32Array, places: list[tuple[int, int]]) -> Float32Array:
        """Return the tokens of some windows, (B, grid, grid, C)."""
        crops = np.zeros((len(places), self.window, self.window), dtype=np.float32)
        inside = np.zeros(crops.shape, dtype=bool)
        for crop, mask, (top, left) in zip(crops, inside, places, strict=True):
            part = values[top : top + self.window, left : left + self.window]
            crop[: part.shape[0], : part.shape[1]] = part
            mask[: part.shape[0], : part.shape[1]] = True
        shown = torch.from_numpy(normalize_crops(crops, inside))[:, None]
        device = next(self.channel.parameters()).device
        tokens = self.channel.tokens(self._prepare(shown.to(device)))
        seen = tokens.float().reshape(len(places), self._grid, self._grid, -1)
        return np.asarray(seen.cpu().numpy())


def _fading(count: int) -> Float32Array:
    """Return weights (count, count, 1) of a window's tokens, highest in its middle."""
    along = np.sin(np.pi * (np.arange(count) + 0.5) / count) ** 2
    return np.asarray(np.multiply.outer(along, along)[..., None], dtype=np.float32)
