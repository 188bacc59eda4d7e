"""Procedural cells beside real cortical reconstructions."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from figures.style import BLUE, ORANGE, bare, save
from napari_neurobridge.io.morphology import read_swc
from napari_neurobridge.simulation.cloud import Somata
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.levels import level
from napari_neurobridge.simulation.neurons.morphology import ProceduralNeurons
from napari_neurobridge.simulation.neurons.morphometry import (
    SHOLL_RADII_UM,
    DendriteStatistics,
    dendrites,
    measure_dendrites,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from napari_neurobridge.io.morphology import Reconstruction

WITHIN_UM = 200.0
_SHOWN = 6
_CORTEX = ("SSp", "SSs", "VIS", "CLA")
_MEASURES = {
    "stems": "stems",
    "segments": "segments",
    "max_order": "branch order",
    "median_tip_path_um": "path to tips (µm)",
    "max_path_um": "longest path (µm)",
    "length_um": "total length (µm)",
}


def real_neurons(folder: Path) -> list[Reconstruction]:
    """Return the reconstructed cortical pyramidal cells of a folder with a ``table.csv``."""
    with (folder / "table.csv").open(encoding="utf-8") as handle:
        rows = [
            row
            for row in csv.DictReader(handle)
            if row["file"].startswith("fig4") and row["soma_region"].startswith(_CORTEX)
        ]
    return [read_swc(folder / row["file"], um_per_unit=float(row["um_per_unit"])) for row in rows]


def procedural_neurons(count: int = 60) -> list[Reconstruction]:
    """Return pyramidal cells of layers 2/3 to 5 that grow by the rules of `paper`."""
    depth = torch.linspace(200, 500, count)
    somata = Somata(
        depth[:, None].expand(-1, 3),
        torch.full((count,), 7.5),
        torch.ones(count, dtype=torch.bool),
        depth,
    )
    grower = ProceduralNeurons(somata, level("paper").morphology, Key.of(0))
    return [grower.tree(cell) for cell in range(count)]


def draw_cells(folder: Path, real_data: Path) -> None:
    """Draw examples, the Sholl profiles and the statistics of both."""
    kinds = {
        "real": (real_neurons(real_data / "morphologies"), BLUE),
        "procedural": (procedural_neurons(), ORANGE),
    }
    figure = Figure(figsize=(7.4, 6.2))
    for row, (words, (neurons, colour)) in enumerate(kinds.items()):
        for column in range(_SHOWN):
            neuron = neurons[column * len(neurons) // _SHOWN]
            ax = figure.add_axes((0.04 + 0.16 * column, 0.755 - 0.235 * row, 0.155, 0.225))
            _draw_tree(ax, neuron, colour)
            if column == 0:
                ax.set_ylabel(words, color=colour, fontweight="bold")
    ax.plot([20, 120], [195, 195], color="black", lw=2)
    ax.text(70, 190, "100 µm", ha="center", va="bottom", fontsize=7)
    measured = {
        words: ([measure_dendrites(neuron, WITHIN_UM) for neuron in neurons], colour)
        for words, (neurons, colour) in kinds.items()
    }
    sholl = figure.add_axes((0.075, 0.08, 0.33, 0.36))
    _draw_sholl(sholl, measured)
    for place, (name, words) in enumerate(_MEASURES.items()):
        row, column = divmod(place, 3)
        ax = figure.add_axes((0.49 + 0.18 * column, 0.285 - 0.225 * row, 0.12, 0.155))
        _draw_measure(ax, name, words, measured)
    save(figure, folder / "morphology.png")


def _draw_tree(ax: Axes, neuron: Reconstruction, colour: str) -> None:
    """Draw the dendrites near the soma, their tip of the apical tree upwards."""
    tree = dendrites(neuron, WITHIN_UM)
    place = tree.position_um - tree.position_um[0]
    apical = place[tree.type == 4]
    up = apical.mean(axis=0)
    up /= np.linalg.norm(up)
    # The horizontal axis along which the cell is widest.
    across = place - (place @ up)[:, None] * up
    side = np.linalg.svd(across, full_matrices=False)[2][0]
    flat = np.stack([place @ side, -(place @ up)], axis=1)
    edge = tree.parent >= 0
    lines = np.stack([flat[edge], flat[tree.parent[edge]]], axis=1)
    ax.add_collection(LineCollection(list(lines), colors=colour, linewidths=0.7))
    ax.plot(0, 0, "o", color=colour, ms=5)
    ax.set(xlim=(-130, 130), ylim=(205, -205), aspect="equal")
    bare(ax)


Measured = dict[str, tuple[list[DendriteStatistics], str]]


def _draw_sholl(ax: Axes, measured: Measured) -> None:
    for words, (found, colour) in measured.items():
        profiles = np.array([one.sholl for one in found])
        low, high = profiles.min(axis=0), profiles.max(axis=0)
        if words == "procedural":
            low, high = np.percentile(profiles, (5, 95), axis=0)
        ax.fill_between(SHOLL_RADII_UM, low, high, color=colour, alpha=0.2, lw=0)
        ax.plot(SHOLL_RADII_UM, np.median(profiles, axis=0), color=colour, lw=1.8, label=words)
    ax.set(
        xlabel="distance from the soma (µm)",
        ylabel="dendrites that cross",
        title="Sholl profile: median and range",
        xlim=(0, SHOLL_RADII_UM[-1]),
        ylim=(0, None),
    )
    ax.legend(loc="lower right")


def _draw_measure(ax: Axes, name: str, words: str, measured: Measured) -> None:
    rng = np.random.default_rng(0)
    for place, (found, colour) in enumerate(measured.values()):
        values: Sequence[float] = [float(getattr(one, name)) for one in found]
        ax.plot(
            place + rng.uniform(-0.22, 0.22, len(values)),
            values,
            "o",
            color=colour,
            ms=2.5,
            alpha=0.6,
        )
        ax.plot([place - 0.35, place + 0.35], 2 * [np.median(values)], color=colour, lw=2)
    ax.set(xlim=(-0.6, 1.6), ylim=(0, None), xticks=[0, 1], title=words)
    ax.set_xticklabels(["real", "proc."])
    ax.tick_params(labelsize=7)
    ax.title.set_fontsize(8)
