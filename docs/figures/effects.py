"""Each effect of the two microscopes off and on, on the same tissue with the same seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from figures.block import Block, Region, picture
from figures.style import grey_bounds, head, note, pairs_of_panels, save, scale_bar, show
from napari_neurobridge.simulation.levels import level
from napari_neurobridge.simulation.tissue.vessels import VesselKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from figures.style import Pair
    from napari_neurobridge.simulation.levels import Difficulty

_SEED = 5
_SIZE_UM = (300.0, 240.0, 240.0)
_WIDE_UM = (10.0, 700.0, 700.0)
# Blocks lie 120 µm and more below the surface; this one right below it.
_SHALLOW_UM = 60.0

Groups = dict[str, dict[str, Any]]

_SHARP: Groups = {
    "two_photon_label": {
        "visible_fraction": 1.0,
        "brightness_sigma": 0.0,
        "nuclear_exclusion": 0.0,
        "filled_fraction": 0.0,
    },
    "two_photon_clutter": {"puncta_per_mm3": 0.0, "fibres_m_per_mm3": 0.0},
    "two_photon": {
        "lateral_sigma_um": (0.8, 0.8),
        "axial_sigma_um": (2.0, 2.0),
        "axial_growth_per_mm": 0.0,
        "power_compensation": 1.0,
        "neuropil": (0.0, 0.0),
        "absorption_per_um": 0.0,
        "jitter_um": (0.0, 0.0, 0.0),
        "drift_um": (0.0, 0.0, 0.0),
        "photons": 1e6,
        "read_noise": 0.0,
    },
    "fmost_label": {"labelled_fraction": 1.0, "cut_fraction": 0.0, "brightness_sigma": 0.0},
    "fmost_clutter": {"puncta_per_mm3": 0.0, "fibres_m_per_mm3": 0.0},
    "fmost": {
        "background": 0.0,
        "lumen_darkness": 0.0,
        "section_step": 0.0,
        "stripes": 0.0,
        "shading": 0.0,
        "photons": 1e6,
        "read_noise": 0.0,
    },
    "misfit": {
        "angle_deg": 0.0,
        "tilt_deg": 0.0,
        "scale": (1.0, 1.0),
        "nonrigid_um": 0.0,
        "dimple_um": 0.0,
        "compression": 0.0,
        "tears_per_mm3": 0.0,
        "axial_scale_error": 0.0,
        "scan_amplitude_um": 0.0,
    },
}


def without_effects(base: Difficulty) -> Difficulty:
    """Return parameters with every effect of both microscopes, and between them, off."""
    return base.changed(**_SHARP)


@dataclass(frozen=True)
class Effect:
    """One effect of a microscope.

    Attributes
    ----------
    title, hint : str
        Its name, and what to see.
    group : str
        Parameters of `Difficulty` that it belongs to.
    names : sequence of str
        Parameters that have their value of the level `paper` when it is on.
    where : callable
        Finds the region to show.
    both : mapping
        What else differs from the microscope without effects in both pictures.
    bar_um : float
        Length of the scale bar.
    own_scale : bool
        Whether either picture has its own black and white.
    white : float
        Percentile that is white.
    mean : bool
        Whether the mean is shown instead of the maximum projection.
    times : float
        How much stronger than in the level `paper` it is drawn.
    block : str
        In which block: the usual one, a wide one, or one right below the surface.
    """

    title: str
    hint: str
    group: str
    names: Sequence[str]
    where: Callable[[Block], Region]
    both: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    bar_um: float = 50.0
    own_scale: bool = False
    white: float = 99.7
    mean: bool = False
    times: float = 1.0
    block: str = "usual"

    def off(self, base: Difficulty) -> Difficulty:
        """Return the parameters without it."""
        return without_effects(base).changed(**self.both)

    def on(self, base: Difficulty) -> Difficulty:
        """Return the parameters with nothing but it."""
        stated = getattr(base, self.group)
        values = {name: getattr(stated, name) for name in self.names}
        if self.times != 1:
            values = {name: self.times * value for name, value in values.items()}
        return self.off(base).changed(**{self.group: values})


def _flat(block: Block) -> Region:
    return Region((100.0, 30.0, 30.0), (30.0, 150.0, 150.0))


def _flat_close(block: Block) -> Region:
    return Region((100.0, 60.0, 60.0), (30.0, 90.0, 90.0))


def _thin(block: Block) -> Region:
    return Region((100.0, 30.0, 30.0), (2.0, 150.0, 150.0))


def _whole(block: Block) -> Region:
    return Region((0.0, 0.0, 0.0), (2.0, *block.size_um[1:]))


def _deep(block: Block) -> Region:
    return Region((0.0, 100.0, 20.0), (200.0, 20.0, 200.0), along=1)


def _deep_thin(block: Block) -> Region:
    return Region((0.0, 100.0, 20.0), (150.0, 1.3, 150.0), along=1)


def _near_a_cell(block: Block) -> Region:
    everyone = torch.ones(len(block.tissue.somata), dtype=torch.bool)
    return block.region_around(block.inner_cell(everyone), (2.0, 50.0, 50.0))


def _cell_from_the_side(block: Block) -> Region:
    pyramidal = block.tissue.somata.pyramidal
    return block.region_around(block.inner_cell(pyramidal), (70.0, 8.0, 70.0), along=1)


def _near_a_cut_cell(block: Block) -> Region:
    label = block.ex_vivo(level("paper").changed(**_FEW)).specimen.label
    place = block.inner_cell(label.cut & label.visible)
    return block.region_around(place, (40.0, 90.0, 90.0))


def _across_a_vessel(block: Block) -> Region:
    place, _ = block.wide_vessel(VesselKind.PENETRATING)
    return block.region_around(place, (2.0, 100.0, 100.0))


def _under_a_vessel(block: Block) -> Region:
    """Return a slab from top to bottom that crosses a vessel of the surface."""
    place, direction = block.wide_vessel(VesselKind.PIAL)
    along = 1 if abs(direction[1]) > abs(direction[2]) else 2
    size = (200.0, 20.0, 200.0) if along == 1 else (200.0, 200.0, 20.0)
    return block.region_around(place, size, along)


_NEUROPIL = {"two_photon": {"neuropil": (0.3, 0.3)}}
_BACKGROUND = {"fmost": {"background": 0.2}}
_FEW = {"fmost_label": {"labelled_fraction": 0.15}}

IN_VIVO_LABEL = (
    Effect(
        "Nuclear exclusion", "the soma becomes a ring",
        "two_photon_label", ("nuclear_exclusion",), _near_a_cell, bar_um=10,
    ),
    Effect(
        "Heavy-tailed brightness", "few cells outshine the others",
        "two_photon_label", ("brightness_sigma",), _flat,
    ),
    Effect(
        "Silent cells", "a part of the cells is dark at rest",
        "two_photon_label", ("visible_fraction",), _flat,
    ),
    Effect(
        "Specks and passing fibres", "what belongs to no cell of the tissue",
        "two_photon_clutter", ("puncta_per_mm3", "fibres_m_per_mm3"), _flat_close,
        white=97.0,
    ),
)  # fmt: skip
IN_VIVO_OPTICS = (
    Effect(
        "Axial point spread", "side view: smeared along the optical axis",
        "two_photon", ("axial_sigma_um", "axial_growth_per_mm"), _cell_from_the_side,
        {"two_photon": {"axial_sigma_um": (1.0, 1.0)}}, bar_um=10, own_scale=True,
    ),
    Effect(
        "Scattering", "side view: dimmer with depth",
        "two_photon", ("power_compensation",), _deep,
    ),
    Effect(
        "Neuropil", "a textured background, with dark vessels",
        "two_photon", ("neuropil",), _thin,
    ),
    Effect(
        "Shadows of vessels", "side view, mean of 20 µm: dark below vessels",
        "two_photon", ("absorption_per_um",), _under_a_vessel, _NEUROPIL,
        white=98.0, mean=True, block="shallow",
    ),
    Effect(
        "Motion of planes", "side view: edges waver from plane to plane",
        "two_photon", ("jitter_um", "drift_um"), _cell_from_the_side, bar_um=10,
    ),
    Effect(
        "Shot and read noise", "one plane of neuropil and cells",
        "two_photon", ("photons", "read_noise"), _thin, _NEUROPIL,
    ),
)  # fmt: skip
EX_VIVO_LABEL = (
    Effect(
        "Unlabelled cells", "a part of the cells carries no label",
        "fmost_label", ("labelled_fraction",), _flat,
    ),
    Effect(
        "Cut cells", "the cell in the middle has lost one side",
        "fmost_label", ("cut_fraction",), _near_a_cut_cell, _FEW,
    ),
    Effect(
        "Bright fibres and specks", "axons and dendrites of cells far away",
        "fmost_clutter", ("puncta_per_mm3", "fibres_m_per_mm3"), _flat,
    ),
    Effect(
        "Saturation", "what is bright becomes alike, and the dim shows",
        "fmost", ("saturation",), _flat, {"fmost": {"saturation": 100.0}}, own_scale=True,
    ),
)  # fmt: skip
EX_VIVO_OPTICS = (
    Effect(
        "Background", "autofluorescence, less of it in somata",
        "fmost", ("background",), _thin, white=98.0,
    ),
    Effect(
        "Dark vessels", "hardly any light comes from their lumen",
        "fmost", ("lumen_darkness",), _across_a_vessel, _BACKGROUND, white=98.0,
    ),
    Effect(
        "Section steps", "side view: gains of sections, drawn 3-fold",
        "fmost", ("section_step",), _deep_thin, _BACKGROUND, white=98.0, times=3,
    ),
    Effect(
        "Stripes", "gains of lines, drawn 3-fold",
        "fmost", ("stripes",), _thin, _BACKGROUND, white=97.0, times=3,
    ),
    Effect(
        "Shading", "strips are darker at their borders",
        "fmost", ("shading",), _whole, _BACKGROUND, bar_um=200, white=97.0, block="wide",
    ),
    Effect(
        "Shot and read noise", "weaker than in vivo",
        "fmost", ("photons", "read_noise"), _thin, _BACKGROUND, white=98.0,
    ),
)  # fmt: skip


def draw_effects(folder: Path) -> None:
    """Draw the effects of both microscopes."""
    base = level("paper")
    shallow = base.changed(tissue={"top_um": (_SHALLOW_UM, _SHALLOW_UM)})
    blocks = {
        "usual": Block(base, _SIZE_UM, _SEED),
        "wide": Block(base, _WIDE_UM, _SEED),
        "shallow": Block(shallow, _SIZE_UM, _SEED),
    }
    for name, effects in (
        ("effects_in_vivo_label", IN_VIVO_LABEL),
        ("effects_in_vivo_optics", IN_VIVO_OPTICS),
        ("effects_ex_vivo_label", EX_VIVO_LABEL),
        ("effects_ex_vivo_optics", EX_VIVO_OPTICS),
    ):
        figure, pairs = pairs_of_panels(len(effects))
        for effect, pair in zip(effects, pairs, strict=True):
            _draw_pair(pair, effect, blocks[effect.block], base)
        save(figure, folder / f"{name}.png")


def _draw_pair(pair: Pair, effect: Effect, block: Block, base: Difficulty) -> None:
    region = effect.where(block)
    image_side = block.ex_vivo if effect.group.startswith("fmost") else block.in_vivo
    images = [
        picture(image_side(d), region, mean=effect.mean)
        for d in (effect.off(base), effect.on(base))
    ]
    low, high = grey_bounds(images[0], effect.white)
    for ax, image, words in zip(pair, images, ("off", "on"), strict=True):
        own_low, own_high = grey_bounds(image, effect.white)
        bounds = (own_low, own_high) if effect.own_scale else (min(low, own_low), high)
        show(ax, image, region.field_um, bounds=bounds)
        note(ax, words)
    scale_bar(pair[0], effect.bar_um, region.field_um)
    head(pair, effect.title, effect.hint)
