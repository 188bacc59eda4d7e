"""Where each channel looks when it compares two crops: Grad-CAM (paper 1, figure 7).

Grad-CAM (Selvaraju et al. 2017) weighs each feature by its gradient, averaged over all
places of the map. That is right for a network that pools its last map. Both channels here
read it out place by place instead, because the layout is what identifies a cell, and the
average then mixes places that speak for a similarity with others that speak against it: the
global channel's map depends little on what a crop is compared with. Weighing by the gradient
at the place itself (HiResCAM, Draelos and Carin 2020) is the same thing for a network that
pools, and faithful for one that does not; `benchmarks.attention` measures both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.places import place_global, place_local

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_neurobridge.encoder.dual_channel import DualChannelEncoder
    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.types import Float32Array

AttentionMethod: TypeAlias = Literal["by-place", "averaged"]


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """Where each channel looked, in two crops that were compared.

    Attributes
    ----------
    query_local, query_global, candidate_local, candidate_global : ndarray of float32, (P, P)
        Laid over the crop, in [0, 1]; the highest place of each map is 1, so that maps tell
        where, and not how much. A map is all 0 where nothing speaks for the similarity, and
        for a channel that the model does not use. A local map is 0 outside the soma window.
    query_gate, candidate_gate : ndarray of float32, shape (2,)
        Weight of the local and of the global channel; they sum to one.
    similarity : float, optional
        Of the two crops, in [-1, 1].
    window : int, optional
        Side of the soma window in the middle of the crop, pixels.
    """

    query_local: Float32Array
    query_global: Float32Array
    candidate_local: Float32Array
    candidate_global: Float32Array
    query_gate: Float32Array
    candidate_gate: Float32Array
    similarity: float | None = None
    window: int | None = None


def attention_maps(
    encoder: Encoder,
    query: Float32Array,
    candidate: Float32Array,
    *,
    method: AttentionMethod = "by-place",
) -> AttentionMaps:
    """Show which places of two crops speak for their similarity.

    Every quarter turn that the model sees gives a map; they are turned back and averaged.

    Parameters
    ----------
    encoder : Encoder
        The model that compares.
    query, candidate : ndarray of float32, shape (P, P)
        Crops in [0, 1], of the size the model was made for.
    method : {"by-place", "averaged"}, default: "by-place"
        Whether Grad-CAM weighs a feature by its gradient at the place itself, or by its
        average over places, as it was first published; see the module's words.

    Returns
    -------
    AttentionMaps

    Raises
    ------
    InputError
        If a crop has another size than the model was made for or is not finite, or captum
        is not installed.
    """
    model = encoder.model
    views = model.config.views
    crops = _stack(encoder, query, candidate)
    with torch.no_grad():
        turned = torch.cat([torch.rot90(crops, turn, dims=(2, 3)) for turn in range(views)])
        readout = _Readout(model)
        maps, grid = readout.features(turned)
        vectors = readout.embed(maps, grid)
        gates = _gates(model, crops)
    # Rows are query and candidate of the first turn, then of the second, and so on.
    partners = vectors.reshape(views, 2, -1).flip(1).reshape_as(vectors)
    local = _relevance(readout, readout.local_probe, (maps, grid, partners), method)
    context = _relevance(readout, readout.global_probe, (maps, grid, partners), method)
    local = _over_views(local, views, lambda field: place_local(field, model.config))
    context = _over_views(context, views, lambda field: place_global(field, model))
    return AttentionMaps(
        query_local=local[0],
        query_global=context[0],
        candidate_local=local[1],
        candidate_global=context[1],
        query_gate=gates[0],
        candidate_gate=gates[1],
        similarity=float((vectors[0::2] * vectors[1::2]).sum() / views),
        window=model.config.local_channel.window,
    )


class _Readout(nn.Module):
    """What follows both channels' last maps; captum attaches to the probes.

    Only this part is differentiated, so that a map costs no more than a forward pass.
    """

    def __init__(self, model: DualChannelEncoder) -> None:
        super().__init__()
        self.model = model
        self.local_probe = nn.Identity()
        self.global_probe = nn.Identity()

    def features(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Map crops (B, 1, P, P) to soma-window maps (B, C, h, w) and token maps (B, D, r, c)."""
        crops = self.model.prepared(crops)
        tokens = self.model.global_channel.tokens(crops)
        grid = tokens.transpose(1, 2).reshape(
            len(tokens), -1, *self.model.global_channel.layout.grid
        )
        return self.model.local_channel.maps(crops), grid

    def embed(self, maps: Tensor, grid: Tensor) -> Tensor:
        """Embed both maps as unit vectors (B, view_dim)."""
        maps, grid = self.local_probe(maps), self.global_probe(grid)
        context = self.model.global_channel(grid.flatten(2).transpose(1, 2))
        return self.model.fuse(self.model.local_channel(maps), context)

    def forward(self, maps: Tensor, grid: Tensor, partners: Tensor) -> Tensor:
        """Return the similarity (B,) with the vectors (B, view_dim) of the partners."""
        return (self.embed(maps, grid) * partners).sum(dim=1)


def _stack(encoder: Encoder, query: Float32Array, candidate: Float32Array) -> Tensor:
    """Check two crops and return them as (2, 1, P, P) on the model's device."""
    pixels = encoder.config.crop_pixels
    for crop in (query, candidate):
        if np.shape(crop) != (pixels, pixels):
            raise InputError(
                f"model {encoder.name!r} compares crops of {pixels} x {pixels} pixels, not an "
                f"array of shape {np.shape(crop)}; extract the crops with the size it was "
                "trained on"
            )
        if not np.isfinite(crop).all():
            raise InputError("A crop holds NaN or infinite pixels; replace them, for example by 0.")
    both = np.stack((query, candidate)).astype(np.float32)
    return torch.from_numpy(both)[:, None].to(encoder.device)


def _gates(model: DualChannelEncoder, crops: Tensor) -> Float32Array:
    """Return the weights (2, 2) of local and global channel; a channel alone has all of it."""
    alone = {"local": (1.0, 0.0), "global": (0.0, 1.0)}
    if model.config.channels != "both":
        return np.array([alone[model.config.channels]] * 2, dtype=np.float32)
    weights: Float32Array = model.gate_weights(crops).float().cpu().numpy()
    return weights


def _relevance(
    readout: _Readout,
    probe: nn.Module,
    inputs: tuple[Tensor, Tensor, Tensor],
    method: AttentionMethod,
) -> Float32Array:
    """Return what speaks for the similarity at each place of a probe's map, (B, h, w), ≥ 0."""
    try:
        from captum.attr import LayerGradCam, LayerGradientXActivation
    except ImportError as error:
        raise InputError(
            "Maps of attention need captum; install it with `pip install captum`."
        ) from error
    unused = {"local": readout.global_probe, "global": readout.local_probe}
    features = inputs[0] if probe is readout.local_probe else inputs[1]
    if unused.get(readout.model.config.channels) is probe:
        return np.zeros((len(features), *features.shape[2:]), dtype=np.float32)
    if method == "averaged":
        places = LayerGradCam(readout, probe).attribute(inputs)
    else:
        places = LayerGradientXActivation(readout, probe).attribute(inputs)
    relevance: Float32Array = places.detach().sum(dim=1).clamp_min(0).float().cpu().numpy()
    return relevance


def _over_views(
    relevance: Float32Array, views: int, place: Callable[[Float32Array], Float32Array]
) -> Float32Array:
    """Lay maps (2 · views, h, w) over their crops, turn them back, average: (2, P, P) in [0, 1]."""
    placed = np.stack([place(field) for field in relevance])
    both = placed.reshape(views, 2, *placed.shape[1:])
    back = [np.rot90(both[turn], -turn, axes=(1, 2)) for turn in range(views)]
    mean = np.mean(back, axis=0)
    highest = mean.max(axis=(1, 2), keepdims=True)
    return np.asarray(mean / np.where(highest > 0, highest, 1), dtype=np.float32)
