"""Adapting a model to a domain without labels: statistics of batch normalisation from its crops."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.encoder.dual_channel import DualChannelEncoder
    from napari_neurobridge.types import Float32Array

_CROPS_AT_ONCE = 64


def with_statistics_of(
    model: DualChannelEncoder, sides: Sequence[Float32Array]
) -> DualChannelEncoder:
    """Copy an encoder, with the mean and variance of each channel taken anew from crops.

    Weights stay, and nobody needs to know who is whose partner (Li et al., "Adaptive batch
    normalization for practical domain adaptation", 2018).

    Parameters
    ----------
    model : DualChannelEncoder
        Left as it is.
    sides : sequence of ndarray of float32, shape (N, P, P)
        Crops of the domain in [0, 1], of one microscope or of both.

    Raises
    ------
    InputError
        If the model has no batch normalisation, or there are fewer than two crops.
    """
    adapted = copy.deepcopy(model).eval()
    layers = [
        each for each in adapted.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)
    ]
    crops = np.concatenate(list(sides))
    if not layers:
        raise InputError("This model has no statistics of batch normalisation to adapt.")
    if len(crops) < 2:
        raise InputError(f"Statistics are taken from at least two crops, not {len(crops)}.")
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over batches
        layer.train()
    # Mixed, so that no batch is of one side or scene; all of nearly one size.
    order = np.random.default_rng(0).permutation(len(crops))
    device = next(adapted.parameters()).device
    with torch.no_grad():
        for rows in np.array_split(order, -(-len(order) // _CROPS_AT_ONCE)):
            adapted(torch.from_numpy(crops[rows])[:, None].to(device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    return adapted.eval()
