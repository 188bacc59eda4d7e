"""Crops of every level, and fields of view of every label regime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures.block import Block, Region, picture
from figures.style import head, note, pairs_of_panels, save, scale_bar, show
from napari_neurobridge.io.crops import CropSpec
from napari_neurobridge.simulation.levels import DOMAINS, LEVELS, level
from napari_neurobridge.simulation.optics.labels import REGIMES
from napari_neurobridge.simulation.pairs import simulate_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.io.pairs import PairSet

_SEED = 11
_CELLS = 12
# Pixels from the middle of a crop that belong to its cell, more or less.
_SOMA_PIXELS = 8
_HINTS = {
    "easy": "sharp, bright, hardly deformed",
    "paper": "as hard as in the paper",
    "hard": "blurred, noisy, strongly deformed",
    "sparse": "a cell in ten is labelled",
    "domain-A": "a good rig: sharp, little noise",
    "domain-B": "rat-like: large cells; blurred",
    "domain-C": "fish-like: small cells, packed",
    "domain-D": "one dilute virus: bright processes",
    "domain-E": "light sheet: blurred and hazy",
    "domain-F": "an old rig: noise, stripes, cut cells",
}
_FIELD = Region((40.0, 20.0, 20.0), (30.0, 200.0, 200.0))
_REGIME_HINTS = {
    "sparse-sparse": "one dilute virus with both labels",
    "dense-sparse": "transgenic GCaMP, dilute tracer",
    "dense-dense": "both labels in nearly all cells",
}


def draw_levels(folder: Path) -> None:
    """Draw a pair of crops of every level."""
    names = [name for name in LEVELS if name not in DOMAINS]
    for file, some in (("levels", names), ("domains", DOMAINS)):
        figure, pairs = pairs_of_panels(len(some), panel_inches=1.16, per_row=3)
        for name, pair in zip(some, pairs, strict=True):
            whole = level(name).changed(crops={"border_fraction": 0.0})
            crops = simulate_pairs(_CELLS, seed=_SEED, level=whole, cells_per_scene=_CELLS)
            shown = _clear_pair(crops)
            field_um = (CropSpec().size_um, CropSpec().size_um)
            for ax, images, words in zip(
                pair, (crops.two_photon, crops.fmost), ("two-photon", "fMOST"), strict=True
            ):
                show(ax, images[shown], field_um, bounds=(0, 1))
                note(ax, words)
            scale_bar(pair[0], 20, field_um)
            head(pair, name, _HINTS[name])
        save(figure, folder / f"{file}.png")


def _clear_pair(pairs: PairSet) -> int:
    """Return a pair whose cell is clearer than most on the two-photon side."""
    middle = slice(CropSpec().pixels // 2 - _SOMA_PIXELS, CropSpec().pixels // 2 + _SOMA_PIXELS)
    clear = pairs.two_photon[:, middle, middle].mean(axis=(1, 2))
    return int(np.argsort(clear)[int(0.8 * len(clear))])


def draw_regimes(folder: Path) -> None:
    """Draw the same tissue in every label regime."""
    base = level("paper")
    block = Block(base, (110.0, 240.0, 240.0), _SEED)
    figure, pairs = pairs_of_panels(len(REGIMES), panel_inches=1.16, per_row=3)
    for name, pair in zip(REGIMES, pairs, strict=True):
        labelled = base.with_labels(name)
        images = (
            picture(block.in_vivo(labelled), _FIELD),
            picture(block.ex_vivo(labelled), _FIELD),
        )
        for ax, image, words in zip(pair, images, ("two-photon", "fMOST"), strict=True):
            show(ax, image, _FIELD.field_um)
            note(ax, words)
        scale_bar(pair[0], 50, _FIELD.field_um)
        head(pair, name, _REGIME_HINTS[name])
    save(figure, folder / "label_regimes.png")
