"""What an encoder's heads read of crops, kept, so that only the heads need to run again.

A frozen trunk sees a crop once in each of its symmetric views; training the heads, passes with
dropout and ranking then cost a few matrix products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from napari_neurobridge.encoder.dual_channel import DualChannelEncoder
    from napari_neurobridge.types import Float32Array

TURNS = 4
_BATCH = 64


@dataclass(frozen=True, eq=False)
class HeadViews:
    """Inputs of both channels' heads for N crops in V views.

    Attributes
    ----------
    local, context : Tensor, shape (V, N, L) and (V, N, C)
        What `LocalChannel.head` and `GlobalChannel.head` read. The first four views are the
        quarter turns; another four, where there are eight, are those of the mirrored crop.
    """

    local: Tensor
    context: Tensor

    def __len__(self) -> int:
        return self.local.shape[1]

    @property
    def views(self) -> int:
        """How many views there are, 4 or 8."""
        return self.local.shape[0]

    def take(self, rows: Tensor) -> HeadViews:
        """Return those of some crops."""
        return HeadViews(self.local[:, rows], self.context[:, rows])


def head_views(
    model: DualChannelEncoder, crops: Float32Array, *, mirrored: bool = False
) -> HeadViews:
    """Run the trunk of a model on the symmetric views of crops (N, P, P).

    Parameters
    ----------
    model : DualChannelEncoder
        In whatever mode; its trunk is run in evaluation mode.
    crops : ndarray of float32, shape (N, P, P)
        Crops in [0, 1] of the model's size.
    mirrored : bool
        Add the mirrored views, for training.

    Raises
    ------
    InputError
        If the crops have another size than the model was made for, or are not finite.
    """
    pixels = model.config.crop_pixels
    if crops.shape[1:] != (pixels, pixels) or not np.isfinite(crops).all():
        raise InputError(
            f"Model '{model.config.name}' sees finite crops of {pixels} x {pixels} pixels, not an "
            f"array of shape {crops.shape}."
        )
    images = torch.from_numpy(np.ascontiguousarray(crops, dtype=np.float32))[:, None]
    images = images.to(next(model.parameters()).device)
    kinds = (images, images.flip(-1)) if mirrored else (images,)
    views = [torch.rot90(kind, turn, dims=(2, 3)) for kind in kinds for turn in range(TURNS)]
    parts = [_inputs(model, view) for view in views]
    return HeadViews(*(torch.stack(part) for part in zip(*parts, strict=True)))


def view_vectors(model: DualChannelEncoder, inputs: HeadViews, view: int) -> Tensor:
    """Return the unit vectors (N, view_dim) of one view, by the heads as they are now."""
    local = model.local_channel.head(inputs.local[view])
    context = model.global_channel.head(inputs.context[view])
    return model.fuse(local, context)


def crop_vectors(model: DualChannelEncoder, inputs: HeadViews) -> Tensor:
    """Return the unit vectors (N, dim) of crops, as the model itself gives them."""
    turns = model.config.views
    vectors = [view_vectors(model, inputs, turn) for turn in range(turns)]
    return torch.cat(vectors, dim=1) / math.sqrt(turns)


def _inputs(model: DualChannelEncoder, crops: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the heads read of crops (N, 1, P, P) as they are held."""
    found: list[list[Tensor]] = [[], []]

    def keep(index: int) -> object:
        def hook(module: torch.nn.Module, arguments: tuple[Tensor, ...]) -> None:
            found[index].append(arguments[0])

        return hook

    heads = (model.local_channel.head, model.global_channel.head)
    hooks = [h.register_forward_pre_hook(keep(i)) for i, h in enumerate(heads)]  # type: ignore[arg-type]
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()
            for start in range(0, len(crops), _BATCH):
                model.embed_view(crops[start : start + _BATCH])
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return torch.cat(found[0]), torch.cat(found[1])
