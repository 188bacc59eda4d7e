"""How unsure a model is of an item: entropy of its mean prediction under dropout.

NeuroADDA, section 4.2, equations 1 to 4, after Gal and Ghahramani, Dropout as a Bayesian
approximation (2016): K passes with other units left out each time, the mean of what they
predict, and its entropy.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from scipy.special import entr
from torch import Tensor, nn

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from napari_neurobridge.types import Float32Array, FloatArray

Predict: TypeAlias = "Callable[[slice], Tensor]"
"""Return the probabilities (B, C, ...) of the items in a slice; any axes after the second are
places, such as the (y, x) of a segmentation."""

_DROPOUT = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)

PASSES = 20
"""Passes with dropout, K of equation 1; the paper does not say how many it took."""


def dropout_uncertainty(
    model: nn.Module,
    predict: Predict,
    count: int,
    *,
    passes: int = PASSES,
    batch_size: int = 16,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Return how unsure a model is of each of ``count`` items, (count,), in nats.

    Parameters and errors are those of `mean_predictions`.
    """
    batches = mean_predictions(
        model, predict, count, passes=passes, batch_size=batch_size, seed=seed
    )
    return np.concatenate([np.empty(0), *(item_entropy(batch) for batch in batches)])


def mean_predictions(
    model: nn.Module,
    predict: Predict,
    count: int,
    *,
    passes: int = PASSES,
    batch_size: int = 16,
    seed: int = 0,
) -> Iterator[Float32Array]:
    """Return an iterator over the mean predictions (B, C, ...) of batches of items.

    Only one batch is in memory at a time, and of its passes only their sum. Of the model only
    the dropout layers are switched on; between batches, and however this ends, every layer is in
    the mode that it was in before. The state of torch's random numbers is left alone.

    Parameters
    ----------
    model : nn.Module
        What ``predict`` runs.
    predict : callable
        See `Predict`.
    count : int
        Number of items.
    passes : int
        K of equation 1.
    batch_size : int
        Items for each call of ``predict``.
    seed : int
        Of the units that are left out. The result is the same for the same seed and batch size.

    Raises
    ------
    InputError
        If the model has no dropout layer, or ``passes`` or ``batch_size`` is less than one.
    """
    if not _dropout_layers(model):
        raise InputError(
            "The model has no dropout layer, so that its uncertainty cannot be told from how "
            "its predictions vary."
        )
    if passes < 1 or batch_size < 1:
        raise InputError("Uncertainty needs at least one pass and one item at a time.")
    return _mean_predictions(model, predict, count, passes, batch_size, seed)


def _mean_predictions(
    model: nn.Module, predict: Predict, count: int, passes: int, batch_size: int, seed: int
) -> Iterator[Float32Array]:
    for start in range(0, count, batch_size):
        rows = slice(start, min(start + batch_size, count))
        with torch.inference_mode(), dropout_switched_on(model), _seeded(model, seed + start):
            total = predict(rows).float()
            for _ in range(passes - 1):
                total = total + predict(rows).float()
        yield (total / passes).cpu().numpy()


def item_entropy(probability: FloatArray) -> npt.NDArray[np.float64]:
    """Return the entropy over classes, mean over places, of items (N, C, ...): (N,), in nats.

    Equations 3 and 4; a class of probability 0 adds nothing, so that no small constant is needed.
    """
    entropy = entr(np.asarray(probability, dtype=np.float64)).sum(axis=1)
    return np.asarray(entropy.reshape(len(probability), -1).mean(axis=1))


def candidate_probabilities(
    queries: Tensor, candidates: Tensor, *, temperature: float, none_similarity: float
) -> Tensor:
    """Return the probabilities of each query's candidates, then of none of them, (B, K + 1).

    Parameters
    ----------
    queries : Tensor, shape (B, D)
        Unit vectors.
    candidates : Tensor, shape (B, K, D)
        Unit vectors of the candidates of each.
    temperature : float
        What similarities are divided by before the softmax.
    none_similarity : float
        Of a candidate that is as probable as none.
    """
    similarity = torch.einsum("bd,bkd->bk", queries, candidates)
    none = similarity.new_full((len(similarity), 1), none_similarity)
    return torch.softmax(torch.cat([similarity, none], dim=1) / temperature, dim=1)


@contextmanager
def dropout_switched_on(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode but for its dropout layers; restore each mode afterwards.

    Batch normalisation keeps its statistics, and uses them.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        for layer in _dropout_layers(model):
            layer.train()
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _dropout_layers(model: nn.Module) -> list[nn.Module]:
    """Return the layers that leave something out; networks of timm hold many of rate 0."""
    return [m for m in model.modules() if isinstance(m, _DROPOUT) and m.p > 0]


@contextmanager
def _seeded(model: nn.Module, seed: int) -> Iterator[None]:
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices, key=str)):
        torch.manual_seed(seed)
        yield
