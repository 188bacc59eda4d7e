"""Which pixels of a crop the places of a channel's last map stand for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.encoder.backbone import pyramid_side

if TYPE_CHECKING:
    from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
    from napari_neurobridge.types import Float32Array


def place_local(field: Float32Array, config: EncoderConfig) -> Float32Array:
    """Lay a map (h, w) of the local channel over the crop (P, P); 0 outside the soma window."""
    window, pixels = config.local_channel.window, config.crop_pixels
    stride = math.prod(config.local_channel.strides)
    # A convolution with padding centres place i on pixel i · stride.
    inner = spread(field, pixels=window, first=0.0, spacing=stride)
    top = (pixels - window) // 2
    crop = np.zeros((pixels, pixels), dtype=np.float32)
    crop[top : top + window, top : top + window] = inner
    return crop


def place_global(field: Float32Array, model: DualChannelEncoder) -> Float32Array:
    """Lay a map of tokens (t, t) of the global channel over the crop (P, P)."""
    config = model.config.global_channel
    pixels = model.config.crop_pixels
    stride = math.prod(config.stem_strides)
    # The stem's map is padded on its far sides until whole patches fit.
    patch = (pyramid_side(pixels, config.stem_strides) + model.global_channel.padding) / len(field)
    spacing = stride * patch
    return spread(field, pixels=pixels, first=(spacing - stride) / 2, spacing=spacing)


def spread(field: Float32Array, *, pixels: int, first: float, spacing: float) -> Float32Array:
    """Interpolate a square map over pixels, linearly, and constant beyond its outer places.

    Parameters
    ----------
    field : ndarray, shape (t, t)
        Values of places.
    pixels : int
        Side of the result.
    first, spacing : float
        Centre of the first place, and distance between places, in pixels; 0 is the centre
        of the first pixel.

    Returns
    -------
    ndarray of float32, shape (pixels, pixels)
    """
    places = np.clip((np.arange(pixels) - first) / spacing, 0, len(field) - 1)
    weights = np.maximum(1 - np.abs(places[:, None] - np.arange(len(field))), 0)
    return np.asarray(weights @ field @ weights.T, dtype=np.float32)
