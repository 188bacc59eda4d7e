"""What adapts a model to a domain without training it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.models.fingerprint import unit_rows
from napari_neurobridge.training.closed_form import best_ridge_map, whitening
from napari_neurobridge.training.normalisation import with_statistics_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.benchmarks.few_shot_data import FewShotData
    from napari_neurobridge.types import Float32Array, FloatArray


class Adapter(StrEnum):
    """What adapts a model; only `RIDGE` is told who is whose partner."""

    STATISTICS = "statistics"
    STATISTICS_PER_SIDE = "statistics-per-side"
    WHITENING = "whitening"
    RIDGE = "ridge"


def adapted_similarity(
    adapter: Adapter, encoder: Encoder, data: FewShotData
) -> tuple[Float32Array, Float32Array]:
    """Adapt a model to the training crops of a split, and compare its other crops.

    `STATISTICS` takes those of batch normalisation from both sides together,
    `STATISTICS_PER_SIDE` from each for itself. `WHITENING` whitens the vectors of each side,
    and `RIDGE` maps those of one side onto their partners'.

    Returns
    -------
    validation, test : ndarray of float32, shape (30, 30) and (53, 53)
        Similarity of every two-photon with every fMOST crop.
    """
    sides = (data.train.two_photon, data.train.fmost)
    encoders = [encoder, encoder]
    if adapter is Adapter.STATISTICS:
        encoders = [Encoder(with_statistics_of(encoder.model, sides), "")] * 2
    elif adapter is Adapter.STATISTICS_PER_SIDE:
        encoders = [Encoder(with_statistics_of(encoder.model, [side]), "") for side in sides]
    validation, test = (
        (encoders[0].embed(pairs.two_photon), encoders[1].embed(pairs.fmost))
        for pairs in (data.validation, data.test)
    )
    parts: Sequence[FloatArray] = [a @ b.T for a, b in (validation, test)]
    if adapter is Adapter.WHITENING:
        first, second = (whitening(encoder.embed(side)) for side in sides)
        parts = [first(a) @ second(b).T for a, b in (validation, test)]
    elif adapter is Adapter.RIDGE:
        train = (encoder.embed(sides[0]), encoder.embed(sides[1]))
        mapped = best_ridge_map(train, validation, data.validation.scene)
        parts = [unit_rows(a @ mapped) @ b.T for a, b in (validation, test)]
    return parts[0].astype(np.float32), parts[1].astype(np.float32)
