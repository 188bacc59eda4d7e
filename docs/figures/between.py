"""What differs in space between the two microscopes, each effect off and on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure

from figures.block import Block, Region, picture
from figures.effects import without_effects
from figures.grids import draw_grid
from figures.style import (
    BLUE,
    GREY,
    ORANGE,
    grey_bounds,
    head,
    note,
    pairs_of_panels,
    save,
    scale_bar,
    show,
)
from napari_neurobridge.simulation.deformation.displacement import (
    draw_displacement,
    power_spectrum,
)
from napari_neurobridge.simulation.deformation.tears import Tears
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.levels import level

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from figures.block import AnySide
    from figures.style import Pair
    from napari_neurobridge.simulation.levels import Difficulty

_SEED = 4
_SIZE_UM = (300.0, 300.0, 300.0)
_FLAT = Region((100.0, 20.0, 20.0), (20.0, 260.0, 260.0))
_SIDE = Region((0.0, 140.0, 20.0), (260.0, 20.0, 260.0), along=1)
_TORN = Region((100.0, 80.0, 80.0), (8.0, 140.0, 140.0))
_BAR_UM = 50.0


@dataclass(frozen=True)
class Shift:
    """One effect on where things are.

    Attributes
    ----------
    title, hint : str
        Its name, and what to see.
    names : sequence of str
        Parameters of `Difficulty.misfit` that have their value of the level `paper`.
    region : Region
        Where to look.
    in_vivo : bool
        Whether it is the in-vivo microscope's.
    exaggeration : float
        How much larger than they are the grid's shifts are drawn.
    lines : int
        Of the grid, along either axis.
    """

    title: str
    hint: str
    names: Sequence[str]
    region: Region
    in_vivo: bool = False
    exaggeration: float = 1.0
    lines: int = 6


SHIFTS = (
    Shift(
        "Rotation, tilt and scale", "what the user's orientation leaves",
        ("angle_deg", "tilt_deg", "scale"), _FLAT,
    ),
    Shift(
        "Window", "side view: the top rises; the grid shows it 3-fold",
        ("dimple_um", "compression"), _SIDE, exaggeration=3,
    ),
    Shift(
        "Smooth displacement", "the grid shows it 3-fold",
        ("nonrigid_um",), _FLAT, exaggeration=3,
    ),
    Shift("A tear", "its sides move apart, and nothing at its rim", (), _TORN, lines=12),
    Shift(
        "Scan distortion (in vivo)", "shifts along x; the grid shows them 10-fold",
        ("scan_amplitude_um",), _FLAT, in_vivo=True, exaggeration=10,
    ),
    Shift(
        "Axial-scale error (in vivo)", "side view: depths are misstated",
        ("axial_scale_error",), _SIDE, in_vivo=True,
    ),
)  # fmt: skip


def draw_between(folder: Path) -> None:
    """Draw rotation and scale, window, smooth displacement, tear, and the scan's errors."""
    base = level("paper")
    block = Block(base, _SIZE_UM, _SEED)
    # Few cells, so that one can follow each.
    few: dict[str, dict[str, Any]] = {
        "two_photon_label": {"visible_fraction": 0.5},
        "fmost_label": {"labelled_fraction": 0.3},
    }
    off = without_effects(base).changed(**few)
    figure, pairs = pairs_of_panels(len(SHIFTS))
    for shift, pair in zip(SHIFTS, pairs, strict=True):
        values = {name: getattr(base.misfit, name) for name in shift.names}
        on = off.changed(misfit=values)
        image_side = block.in_vivo if shift.in_vivo else block.ex_vivo
        before, after = image_side(off), image_side(on)
        if not shift.names:
            after = _torn(block, off)
        _draw_pair(pair, shift, (before, after))
    save(figure, folder / "between.png")


def _torn(block: Block, difficulty: Difficulty) -> AnySide:
    """Return the block with one tear across the middle of the region."""
    misfit = level("paper").misfit
    middle = np.array(_TORN.low_um) + np.array(_TORN.size_um) / 2
    tear = Tears(
        torch.from_numpy(middle[None]),
        torch.tensor([[0.0, 0.8, 0.6]], dtype=torch.float64),
        torch.tensor([1.5 * misfit.tear_opening_um], dtype=torch.float64),
        torch.tensor([misfit.tear_radius_um], dtype=torch.float64),
    )
    deformation = replace(block.deformation(difficulty), tears=tear)
    return block.ex_vivo(difficulty, deformation)


def _draw_pair(pair: Pair, shift: Shift, sides: tuple[AnySide, AnySide]) -> None:
    images = [picture(side, shift.region) for side in sides]
    bounds = grey_bounds(images[0], 99.0)
    for ax, image, side, words in zip(pair, images, sides, ("off", "on"), strict=True):
        show(ax, image, shift.region.field_um, bounds=bounds)
        draw_grid(
            ax,
            side.specimen.warp,
            shift.region,
            exaggeration=shift.exaggeration,
            lines=shift.lines,
        )
        note(ax, words)
    scale_bar(pair[0], _BAR_UM, shift.region.field_um)
    head(pair, shift.title, shift.hint)


def draw_spectrum(folder: Path) -> None:
    """Draw the stated spectrum of the smooth displacement, and that of sampled fields."""
    params = level("paper").misfit
    stationary = params.model_copy(update={"modulation": 0.0})
    longest, shortest = (2 * np.pi / um for um in params.nonrigid_wavelength_um[::-1])
    wavenumber = np.linspace(0.3 * longest, 1.4 * shortest, 600)
    figure = Figure(figsize=(7.4, 2.9))
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.08, right=0.93, bottom=0.17, top=0.88, wspace=0.25)
    left.fill_between(
        wavenumber, power_spectrum(params, wavenumber), color=GREY, alpha=0.35, lw=0, label="stated"
    )
    for settings, colour, words in (
        (stationary, BLUE, "measured, without modulation"),
        (params, ORANGE, "measured, as in paper"),
    ):
        left.plot(*_measured_spectrum(settings), color=colour, marker="o", ms=3, lw=1, label=words)
    left.set(
        xlabel="wavenumber (rad/µm)",
        ylabel="power (µm² per rad/µm)",
        title="Its spectrum is the stated one",
        xlim=(0, wavenumber[-1]),
    )
    left.legend(fontsize=7.5, loc="upper right")
    _draw_modulation(right, figure)
    save(figure, folder / "spectrum.png")


def _measured_spectrum(
    params: Any, *, count: int = 80, step_um: float = 65.0, draws: int = 24
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return wavenumbers and the mean power of a component in shells about them.

    Fields are sampled on a lattice and tapered with a Hann window before the transform.
    """
    axis = torch.arange(count) * step_um
    places = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).reshape(3, -1)
    taper = torch.hann_window(count, periodic=True)
    taper = taper[:, None, None] * taper[:, None] * taper
    taper /= taper.square().mean().sqrt()
    power = np.zeros((count, count, count))
    for draw in range(draws):
        field = draw_displacement(params, Key.of(draw)).at(places).view(3, *taper.shape)
        transform = torch.fft.fftn(field * taper, dim=(1, 2, 3), norm="forward")
        power += transform.abs().square().mean(dim=0).numpy() / draws
    frequency = 2 * np.pi * np.fft.fftfreq(count, step_um)
    z, y, x = np.meshgrid(frequency, frequency, frequency, indexing="ij")
    wavenumber = np.sqrt(z**2 + y**2 + x**2)
    edges = np.arange(0.004, frequency.max(), 0.0025)
    in_shells, _ = np.histogram(wavenumber, edges, weights=power)
    return (edges[:-1] + edges[1:]) / 2, in_shells / np.diff(edges)


def _draw_modulation(ax: Any, figure: Figure) -> None:
    """Draw the local size of one displacement in a plane: it is not the same everywhere."""
    params = level("paper").misfit
    field = draw_displacement(params, Key.of(2))
    axis = torch.linspace(0, 2000, 120)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    places = torch.stack([torch.full_like(y, 300.0), y, x]).reshape(3, -1)
    size = field.at(places).norm(dim=0).view(120, 120).numpy()
    shown = ax.imshow(size, extent=(0, 2, 2, 0), cmap="cividis", interpolation="bilinear")
    ax.set(xlabel="x (mm)", ylabel="y (mm)", title="Its size swells and fades with place")
    figure.colorbar(shown, ax=ax, label="displacement (µm)")
