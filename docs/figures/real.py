"""Simulated images beside real ones, in fields of the same size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import tifffile
import torch
from matplotlib.figure import Figure

from figures.block import Block, Region
from figures.style import BLUE, ORANGE, bare, note, save, scale_bar, show
from napari_neurobridge.simulation.levels import level

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from figures.block import AnySide
    from napari_neurobridge.types import Vec3

Image = npt.NDArray[np.float64]

_SEED = 6
_FIELD_UM, _SLAB_UM = 200.0, 30.0
_REGION = Region((40.0, 10.0, 10.0), (_SLAB_UM, _FIELD_UM, _FIELD_UM))
# The voxel size of most_soma is not known: with pixels as long as this its somata are 14 µm wide.
_MOST_UM: Vec3 = (1.0, 0.32, 0.32)
_MOST_FIELD_UM = 100.0
# The first of the two blocks in the file of most_soma ends here.
_DEEPEST = 28
_PANEL = 1.85
_BINS = np.linspace(-0.1, 1.2, 53)


@dataclass(frozen=True)
class Volume:
    """A part of an image; voxel size in µm (z, y, x)."""

    voxels: Image
    voxel_um: Vec3

    def projection(self) -> Image:
        """Return its maximum projection."""
        return np.asarray(self.voxels.max(axis=0))

    @property
    def field_um(self) -> tuple[float, float]:
        """Height and width."""
        _, height, width = self.voxels.shape
        return height * self.voxel_um[1], width * self.voxel_um[2]

    def corner(self, field_um: float) -> Volume:
        """Return a part with a smaller field of view."""
        rows, columns = (round(field_um / step) for step in self.voxel_um[1:])
        return Volume(self.voxels[:, :rows, :columns], self.voxel_um)

    def scaled(self) -> Image:
        """Return voxels with the 1st percentile at 0 and the 99.7th at 1, as in crops."""
        low, high = np.percentile(self.voxels, (1, 99.7))
        return np.asarray((self.voxels - low) / (high - low))


@dataclass(frozen=True)
class Row:
    """A simulated image, it at the voxels of a real one, and that."""

    microscope: str
    simulated: Volume
    at_real_voxels: Volume
    real: Volume

    @property
    def bar_um(self) -> float:
        """Length of a scale bar."""
        return 50.0 if self.real.field_um[0] > _MOST_FIELD_UM + 1 else 20.0

    @property
    def volumes(self) -> tuple[Volume, Volume, Volume]:
        """All three."""
        return self.simulated, self.at_real_voxels, self.real


def read(
    path: Path, voxel_um: Vec3, first: tuple[int, int, int], field_um: float = _FIELD_UM
) -> Volume:
    """Read a slab of a TIFF, from a voxel on."""
    whole = tifffile.imread(path)
    size = (min(_SLAB_UM, _DEEPEST * voxel_um[0]), field_um, field_um)
    z, y, x = (
        slice(start, start + round(extent / step))
        for start, extent, step in zip(first, size, voxel_um, strict=True)
    )
    return Volume(whole[z, y, x].astype(np.float64), voxel_um)


def simulate(side: AnySide) -> Volume:
    """Image the region at the microscope's own voxels."""
    voxel_um = side.camera.voxel_um
    voxels = side.photograph(_REGION.box(voxel_um)).double().numpy()
    return Volume(voxels, voxel_um)


def resampled(volume: Volume, voxel_um: Vec3) -> Volume:
    """Return the mean of a volume in voxels of another size."""
    fine = torch.from_numpy(volume.voxels)[None, None]
    extent = [n * step for n, step in zip(volume.voxels.shape, volume.voxel_um, strict=True)]
    depth, height, width = (
        max(1, round(e / step)) for e, step in zip(extent, voxel_um, strict=True)
    )
    coarse = torch.nn.functional.adaptive_avg_pool3d(fine, (depth, height, width))[0, 0]
    return Volume(coarse.numpy(), voxel_um)


def summary(volume: Volume) -> dict[str, float]:
    """Return numbers that say how an image looks, whatever its unit of intensity."""
    values = volume.scaled()
    steps = [round(4.0 / step) for step in volume.voxel_um[1:]]
    smooth = values - values.mean()
    shifted = smooth[:, :, steps[1] :] * smooth[:, :, : -steps[1]]
    middle, most = np.percentile(values, (50, 90))
    return {
        "median": float(middle),
        "p90": float(most),
        "bright": float((values > 0.5).mean()),
        "neighbours": float(shifted.mean() / smooth.var()),
    }


def make_comparisons(real_data: Path) -> dict[str, Row]:
    """Return the simulation and two real images."""
    block, paper = _block(), level("paper")
    in_vivo = simulate(block.in_vivo(paper))
    ex_vivo = simulate(block.ex_vivo(paper.with_labels("dense-sparse")))
    easi_um, cleared_um = (1.68, 1.84, 1.84), (5.0, 2.0, 2.0)
    easi = read(real_data / "easi_fish" / "fixed.tif", easi_um, (50, 60, 150))
    cleared = read(real_data / "cleared_cortex" / "signal.tif", cleared_um, (11, 250, 100))
    return {
        "easi_fish": Row("two-photon", in_vivo, resampled(in_vivo, easi_um), easi),
        "cleared_cortex": Row("fMOST", ex_vivo, resampled(ex_vivo, cleared_um), cleared),
    }


def compare_with_most(real_data: Path) -> Row:
    """Return the simulation and the first block of most_soma."""
    simulated = simulate(_block().ex_vivo(level("paper"))).corner(_MOST_FIELD_UM)
    path = real_data / "most_soma" / "volume.tif"
    most = read(path, _MOST_UM, (0, 6, 6), _MOST_FIELD_UM)
    return Row("fMOST", simulated, resampled(simulated, _MOST_UM), most)


def _block() -> Block:
    return Block(level("paper"), (110.0, 220.0, 220.0), _SEED)


def draw_beside_real(folder: Path, real_data: Path) -> None:
    """Draw the simulation beside two real images that may be shown."""
    _draw(folder / "beside_real.png", make_comparisons(real_data))


def draw_beside_most(folder: Path, real_data: Path) -> None:
    """Draw the simulation beside most_soma, whose licence forbids showing it on the page."""
    _draw(folder / "beside_most_soma.png", {"most_soma": compare_with_most(real_data)})


def _draw(path: Path, rows: dict[str, Row]) -> None:
    height, width = len(rows) * (_PANEL + 0.3) + 0.3, 4 * (_PANEL + 0.05) + 0.1
    figure = Figure(figsize=(width, height))
    for number, (name, row) in enumerate(rows.items()):
        bottom = height - (number + 1) * (_PANEL + 0.3) - 0.12
        titles = (
            f"simulated {row.microscope}",
            "simulated, at the real voxels",
            f"real: {name}",
        )
        axes = []
        for column, (volume, title) in enumerate(zip(row.volumes, titles, strict=True)):
            left = 0.05 + column * (_PANEL + 0.05)
            ax = figure.add_axes((left / width, bottom / height, _PANEL / width, _PANEL / height))
            bare(ax)
            show(ax, volume.projection(), volume.field_um, title=title)
            note(ax, " × ".join(f"{step:g}" for step in volume.voxel_um) + " µm voxels")
            axes.append(ax)
        scale_bar(axes[0], row.bar_um, row.simulated.field_um)
        left = 0.05 + 3 * (_PANEL + 0.05) + 0.12
        _draw_histograms(
            figure.add_axes(
                (
                    left / width,
                    (bottom + 0.34) / height,
                    (_PANEL - 0.2) / width,
                    (_PANEL - 0.36) / height,
                )
            ),
            row,
        )
    save(figure, path)


def _draw_histograms(ax: Axes, row: Row) -> None:
    for volume, colour, label in (
        (row.at_real_voxels, ORANGE, "simulated, same voxels"),
        (row.real, BLUE, "real"),
    ):
        density, _ = np.histogram(volume.scaled(), _BINS, density=True)
        ax.stairs(np.maximum(density, 1e-3), _BINS, color=colour, label=label, lw=1.5)
    ax.set(yscale="log", xlabel="0: 1st, 1: 99.7th percentile", title="intensities (log scale)")
    ax.set_ylim(1e-2, 100)
    ax.set_yticks([])
    ax.minorticks_off()
    ax.tick_params(labelsize=7)
    ax.legend(fontsize=7, loc="upper right", handlelength=1)
