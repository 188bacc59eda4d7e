"""What the segmenter's probabilities are cut with, fixed on scenes that it did not see."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.detection.hits import count_hits
from napari_neurobridge.detection.segment import SegmentedVolume, off_faces, somata_in
from napari_neurobridge.detection.watershed import (
    WatershedParams,
    instances,
    variation_of_information,
)
from napari_neurobridge.io.blocks import Block
from napari_neurobridge.io.volumes import Volume
from napari_neurobridge.training.segmented_scenes import VOXEL_UM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.detection.unet import SegmenterNet
    from napari_neurobridge.training.segmented_scenes import SegmentedScene, SegmentedSide
    from napari_neurobridge.types import Float32Array

_SMOOTH_PX = (0.5, 0.7, 1.0)
_SEEDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_INSIDE = (0.3, 0.4, 0.5, 0.6)


@dataclass(frozen=True)
class SideFigures:
    """How well one side's somata are found at the settings that were fixed.

    Attributes
    ----------
    n_true, n_found, n_hits : int
        Somata, and those within 5 µm of a true one of its own.
    split, merge : float
        Variation of information in bits, background being a segment; mean over scenes.
    """

    n_true: int
    n_found: int
    n_hits: int
    split: float
    merge: float

    @property
    def precision(self) -> float:
        """Share of what is found that is a soma."""
        return self.n_hits / max(self.n_found, 1)

    @property
    def recall(self) -> float:
        """Share of the somata that are found."""
        return self.n_hits / max(self.n_true, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        return 2 * self.n_hits / max(self.n_true + self.n_found, 1)


def fixed_on_source(
    net: SegmenterNet, scenes: Sequence[SegmentedScene]
) -> tuple[WatershedParams, dict[str, SideFigures]]:
    """Fix the watershed: what finds most two-photon somata, then what cuts them best.

    Smoothing and the least probability of a seed have the highest F1 of two-photon somata; the
    least probability inside has then the least variation of information.

    Parameters
    ----------
    net : SegmenterNet
    scenes : sequence of SegmentedScene
        That it was not trained on.

    Returns
    -------
    params : WatershedParams
    figures : dict
        By side, at these settings.
    """
    sides = {name: [getattr(scene, name) for scene in scenes] for name in ("two_photon", "fmost")}
    told = {name: [_probability(net, side) for side in held] for name, held in sides.items()}
    start = net.config.watershed

    def f1(params: WatershedParams) -> float:
        return _judged(told["two_photon"], sides["two_photon"], params, cut=False).f1

    tried = [
        start.model_copy(update={"smooth_px": smooth, "seed": seed})
        for smooth, seed in itertools.product(_SMOOTH_PX, _SEEDS)
    ]
    best = max(tried, key=f1)

    def information(params: WatershedParams) -> float:
        figures = _judged(told["two_photon"], sides["two_photon"], params)
        return figures.split + figures.merge

    best = min((best.model_copy(update={"inside": inside}) for inside in _INSIDE), key=information)
    return best, {name: _judged(told[name], sides[name], best) for name in sides}


def _probability(net: SegmenterNet, side: SegmentedSide) -> Float32Array:
    """Return what a network says of a whole image."""
    voxel = (VOXEL_UM, VOXEL_UM, VOXEL_UM)
    volume = Volume([side.image], name="scene", voxel_size_um=voxel)
    z, y, x = volume.shape
    whole = Block.at((0, 0, 0), (z, y, x), shape=(z, y, x), halo=(0, 0, 0))
    return SegmentedVolume.prepare(volume, net).probability(whole)


def _judged(
    told: Sequence[Float32Array],
    sides: Sequence[SegmentedSide],
    params: WatershedParams,
    *,
    cut: bool = True,
) -> SideFigures:
    counts = np.zeros(3, dtype=int)
    bits = np.zeros(2)
    for probability, side in zip(told, sides, strict=True):
        z, y, x = probability.shape
        told_of = somata_in(probability, params, np.ones(3))
        found = told_of.positions[off_faces(told_of.seeds, (z, y, x))] * VOXEL_UM
        counts += len(side.centers_um), len(found), count_hits(side.centers_um, found)
        if cut:
            labels = instances(probability, "somata", params)
            bits += variation_of_information(side.somata, labels, background=True)
    n_true, n_found, n_hits = counts.tolist()
    split, merge = (bits / len(told)).tolist()
    return SideFigures(n_true, n_found, n_hits, split, merge)
