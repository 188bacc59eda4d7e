"""A recording: its projections, and what some of its cells do."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tifffile
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from figures.style import GREEN, GREY, ORANGE, PURPLE, SKY, bare, save, show
from napari_neurobridge.simulation.levels import level
from napari_neurobridge.simulation.neurons.sources import neuron_factory
from napari_neurobridge.simulation.recording.of_scene import record_scene
from napari_neurobridge.simulation.scene import Scene
from napari_neurobridge.types import Projection

if TYPE_CHECKING:
    from napari_neurobridge.simulation.recording.recording import Recording

_SEED = 8
_FIELD_UM = 200.0
_SIZE_UM = (120.0, _FIELD_UM, _FIELD_UM)
_FRAMES = 900
_SOMA_UM = 5.0
_ORDINARY = 3
_HINTS = {
    Projection.MEAN: "mean",
    Projection.MAX: "maximum",
    Projection.STD: "standard deviation",
    Projection.CORRELATION: "local correlation",
}

Row = dict[str, str]


def draw_recording(folder: Path) -> None:
    """Draw the projections of a recording, and traces of four cells."""
    paper = level("paper")
    scene = Scene(paper, _SIZE_UM, _SEED, neuron_factory(paper.morphology))
    with tempfile.TemporaryDirectory() as scratch:
        recording = record_scene(Path(scratch) / "plane.ome.tif", scene, n_frames=_FRAMES)
        movie = tifffile.imread(recording.files.movie).astype(np.float64)
        images = {p: tifffile.imread(path) for p, path in recording.files.projections.items()}
        with recording.files.cells.open(encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
    chosen = _choose(rows)
    colours = (SKY, GREEN, PURPLE, ORANGE)
    figure = Figure(figsize=(7.4, 4.3))
    for place, (projection, words) in enumerate(_HINTS.items()):
        ax = figure.add_axes((0.008 + 0.248 * place, 0.5, 0.24, 0.42))
        bare(ax)
        bar_um = 50.0 if place == 0 else None
        show(ax, images[projection], (_FIELD_UM, _FIELD_UM), title=words, bar_um=bar_um)
        for row, colour in zip(chosen, colours, strict=True):
            y, x = (float(row[f"two_photon_{axis}_um"]) for axis in "yx")
            ax.add_patch(Circle((x, y), 11, fill=False, color=colour, lw=1.3))
    _draw_traces(figure, movie, recording, rows, chosen, colours)
    save(figure, folder / "recording.png")


def _choose(rows: list[Row]) -> list[Row]:
    """Return the busiest ordinary cells in the plane, and one that is dark at rest."""
    middle_um = _SIZE_UM[0] / 2
    inside = [
        row
        for row in rows
        if row["soma_in_plane"] == "1"
        and all(20 < float(row[f"two_photon_{axis}_um"]) < _FIELD_UM - 20 for axis in "yx")
        and abs(float(row["two_photon_z_um"]) - middle_um) < _SOMA_UM
    ]
    inside.sort(key=lambda row: -int(row["n_spikes"]))
    ordinary = [row for row in inside if row["active_only"] == "0"]
    hidden = [row for row in inside if row["active_only"] == "1"]
    brightest = max(hidden, key=lambda row: int(row["n_spikes"]) * float(row["light_um2"]))
    return [*ordinary[:_ORDINARY], brightest]


def _draw_traces(
    figure: Figure,
    movie: npt.NDArray[np.float64],
    recording: Recording,
    rows: list[Row],
    chosen: list[Row],
    colours: tuple[str, ...],
) -> None:
    """Draw the light of each chosen cell's soma, and its true calcium above it."""
    seconds = np.arange(len(movie)) / level("paper").recording.rate_hz
    axes: Any = [figure.add_axes((0.13, 0.385 - 0.095 * k, 0.86, 0.09)) for k in range(len(chosen))]
    columns, lines = np.meshgrid(np.arange(movie.shape[2]), np.arange(movie.shape[1]))
    for ax, row, colour in zip(axes, chosen, colours, strict=True):
        y, x = (float(row[f"two_photon_{axis}_um"]) for axis in "yx")
        soma = np.hypot(lines - y, columns - x) <= _SOMA_UM
        light = movie[:, soma].mean(axis=1)
        rest = np.percentile(light, 20)
        calcium = recording.activity.calcium[rows.index(row)].numpy()
        ax.plot(seconds, (light / rest - 1), color=GREY, lw=0.6)
        scale = np.percentile(light / rest - 1, 99.8) / max(np.percentile(calcium, 99.8), 1e-6)
        ax.plot(seconds, scale * calcium, color=colour, lw=0.9)
        name = "dark at rest" if row["active_only"] == "1" else "visible cell"
        ax.set_ylabel(name, color=colour, rotation=0, ha="right", va="center", fontsize=8)
        ax.set(xlim=(0, seconds[-1]), xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    axes[-1].set_xticks(np.arange(0, seconds[-1], 10))
    axes[-1].set_xlabel("seconds;  grey: light in the soma,  colour: its true calcium")
