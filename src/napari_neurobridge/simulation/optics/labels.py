"""Which cells each side shows, and what its label puts into every point of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.cloud import Morphology, Part, Somata
from napari_neurobridge.simulation.parameters import (
    Fraction,
    NonNegative,
    Parameters,
    Positive,
    Range,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_neurobridge.simulation.keyed import Key

_BRIGHTEST = 6.0


class ProcessParams(Parameters):
    """How a label fills processes, relative to the cell's soma.

    Attributes
    ----------
    dendrite_gain, axon_gain : float
        Brightness for each µm³ at the soma.
    fading_um : float
        Straight distance from the soma over which the label fades to 1/e.
    """

    dendrite_gain: NonNegative = 1.0
    axon_gain: NonNegative = 0.5
    fading_um: Positive = 45.0


class TwoPhotonLabelParams(ProcessParams):
    """How cells express the calcium indicator (and `ProcessParams`).

    Attributes
    ----------
    visible_fraction : float
        Share of the cells that are visible at rest.
    active_only_fraction : float
        Share of the others that a time series shows while they are active. The rest is silent.
    brightness_sigma : float
        Standard deviation of the logarithm of the brightness of a cell.
    dimmest : float
        Brightness of the dimmest cells that still count as visible.
    nuclear_exclusion : float
        Share of the indicator missing in the nucleus; 1 gives a hollow ring.
    nucleus_radius : float
        Relative to the soma.
    filled_fraction : float
        Share of the cells that express too much: the indicator fills their nucleus.
    """

    visible_fraction: Fraction = 0.85
    active_only_fraction: Fraction = 0.5
    brightness_sigma: NonNegative = 1.4
    dimmest: Positive = 0.7
    nuclear_exclusion: Fraction = 0.95
    nucleus_radius: Fraction = 0.72
    filled_fraction: Fraction = 0.04


class FmostLabelParams(ProcessParams):
    """How cells carry the structural label (and `ProcessParams`).

    Attributes
    ----------
    labelled_fraction : float
        Share of the cells that carry the label.
    coexpression : float
        Share of the cells in which one draw decides for both sides, as when one virus brings
        both labels; the share of labelled cells stays as it is. At 0 the sides are independent.
    cut_fraction : float
        Share of the cells that lose all beyond a plane beside the soma.
    cut_um : Range
        Distance of that plane from the centre of the soma.
    brightness_sigma : float
        Standard deviation of the logarithm of the brightness of a cell.
    dimmest : float
        Brightness of the dimmest cells that still count as visible.
    """

    labelled_fraction: Fraction = 0.85
    coexpression: Fraction = 0.0
    cut_fraction: Fraction = 0.04
    cut_um: Range = (9.0, 30.0)
    brightness_sigma: NonNegative = 1.0
    dimmest: Positive = 0.35
    dendrite_gain: NonNegative = 2.5
    axon_gain: NonNegative = 2.2
    fading_um: Positive = 70.0


@dataclass(frozen=True)
class Regime:
    """What a label regime changes in the two sets of label parameters."""

    two_photon: Mapping[str, float] = field(default_factory=dict)
    fmost: Mapping[str, float] = field(default_factory=dict)


REGIMES: Mapping[str, Regime] = MappingProxyType(
    {
        "sparse-sparse": Regime(
            {"visible_fraction": 0.2, "active_only_fraction": 0.05},
            {"labelled_fraction": 0.15, "coexpression": 0.5},
        ),
        "dense-sparse": Regime(
            {"visible_fraction": 0.85, "active_only_fraction": 0.5},
            {"labelled_fraction": 0.15, "coexpression": 0.0},
        ),
        "dense-dense": Regime(
            {"visible_fraction": 0.85, "active_only_fraction": 0.5},
            {"labelled_fraction": 0.85, "coexpression": 0.0},
        ),
    }
)
"""Named regimes, two-photon side first. Shares are of all cells of the tissue:

============== ============== ======== =============== ==================================
name           visible in 2P  labelled in both (mean)  stands for
============== ============== ======== =============== ==================================
sparse-sparse  0.20           0.15     0.09            one dilute virus with both labels
dense-sparse   0.85           0.15     0.128           transgenic GCaMP, dilute tracer
dense-dense    0.85           0.85     0.722           both labels in nearly all cells
============== ============== ======== =============== ==================================

:meta hide-value:
"""


def in_regime(
    name: str, two_photon: TwoPhotonLabelParams, fmost: FmostLabelParams
) -> tuple[TwoPhotonLabelParams, FmostLabelParams]:
    """Return the label parameters with the shares of a named regime.

    Raises
    ------
    InputError
        If there is no such regime.
    """
    if name not in REGIMES:
        raise InputError(f"There is no label regime '{name}'; choose one of {', '.join(REGIMES)}.")
    regime = REGIMES[name]
    return (
        two_photon.model_copy(update=dict(regime.two_photon)),
        fmost.model_copy(update=dict(regime.fmost)),
    )


class Label:
    """What both sides' labels have in common; cells are keyed by their id.

    Parameters
    ----------
    visible : Tensor of bool, shape (N,)
    brightness : Tensor, shape (N,)
    processes : ProcessParams
        Gains of dendrites and axons.

    Attributes
    ----------
    visible : Tensor of bool, shape (N,)
        Cells that an image of tissue at rest shows.
    brightness : Tensor, shape (N,)
        Of every cell, whether it is visible or not; median 1.
    """

    def __init__(self, visible: Tensor, brightness: Tensor, processes: ProcessParams) -> None:
        self.visible = visible
        self.brightness = brightness
        self._processes = processes

    def gain(self, cells: Morphology) -> Tensor:
        """Return fluorophore for each µm³ (M,) of points of a cell of brightness 1."""
        params = self._processes
        gains = cells.reach.new_tensor(
            [0.0, 1.0, params.axon_gain, params.dendrite_gain, params.dendrite_gain]
        )
        fading = torch.exp(cells.reach / -params.fading_um)
        return gains[cells.part] * torch.where(cells.part == Part.SOMA, 1.0, fading)

    def amount(self, cells: Morphology) -> Tensor:
        """Return the fluorophore (M,) of points at rest: nothing in cells not visible."""
        shining = self.brightness * self.visible
        return cells.volume_um3 * self.gain(cells) * shining[cells.cell]


class TwoPhotonLabel(Label):
    """The calcium indicator: ring-like somata, dim processes, some cells silent.

    Parameters
    ----------
    somata : Somata
        All cells of the tissue.
    params : TwoPhotonLabelParams
        Shares and gains.
    key : Key
        Names the animal; the same for both sides.

    Attributes
    ----------
    active_only : Tensor of bool, shape (N,)
        Cells that only a time series shows, while they are active. Cells neither `visible`
        nor `active_only` are silent.
    """

    def __init__(self, somata: Somata, params: TwoPhotonLabelParams, key: Key) -> None:
        cells, own = _ids(somata), key.child("in vivo")
        super().__init__(
            _visibility_draw(key, cells) < params.visible_fraction,
            heavy_tailed(own.child("brightness"), cells, params.brightness_sigma, params.dimmest),
            params,
        )
        active = own.child("active").uniform(cells) < params.active_only_fraction
        self.active_only = active & ~self.visible
        filled = own.child("filled").uniform(cells) < params.filled_fraction
        self._nucleus_gain = torch.where(filled, 1.0, 1 - params.nuclear_exclusion)
        self._nucleus_radius = params.nucleus_radius

    def gain(self, cells: Morphology) -> Tensor:
        """Return fluorophore for each µm³ (M,) of points of a cell of brightness 1."""
        nucleus = (cells.part == Part.SOMA) & (cells.reach < self._nucleus_radius)
        return torch.where(nucleus, self._nucleus_gain[cells.cell], super().gain(cells))


class FmostLabel(Label):
    """The structural label: filled somata, bright fibres, some cells cut.

    Parameters
    ----------
    somata : Somata
        All cells of the tissue.
    params : FmostLabelParams
        Shares and gains.
    key : Key
        Names the animal; the same for both sides.

    Attributes
    ----------
    cut : Tensor of bool, shape (N,)
        Cells that have lost all beyond a plane beside the soma.
    """

    def __init__(self, somata: Somata, params: FmostLabelParams, key: Key) -> None:
        cells, own = _ids(somata), key.child("ex vivo")
        shared = own.child("coexpression").uniform(cells) < params.coexpression
        chance = torch.where(
            shared, _visibility_draw(key, cells), own.child("visible").uniform(cells)
        )
        super().__init__(
            chance < params.labelled_fraction,
            heavy_tailed(own.child("brightness"), cells, params.brightness_sigma, params.dimmest),
            params,
        )
        self.cut = own.child("cut").uniform(cells) < params.cut_fraction
        nearest, farthest = params.cut_um
        distance = nearest + (farthest - nearest) * own.child("cut distance").uniform(cells)
        normal = own.child("cut normal").normal(cells, 3)
        self._cut_normal = torch.nn.functional.normalize(normal, dim=1)
        # The plane's place along its normal.
        self._cut_at = (self._cut_normal * somata.center_um).sum(dim=1) - distance

    def gain(self, cells: Morphology) -> Tensor:
        """Return fluorophore for each µm³ (M,) of points of a cell of brightness 1."""
        gain = super().gain(cells)
        points = self.cut[cells.cell].nonzero()[:, 0]
        cell = cells.cell[points]
        along = (cells.position_um[points] * self._cut_normal[cell]).sum(dim=1)
        gain[points[along < self._cut_at[cell]]] = 0.0
        return gain


def heavy_tailed(key: Key, index: Tensor, sigma: float, dimmest: float = 0.35) -> Tensor:
    """Return log-normal brightnesses with median 1; none is quite dark, none outshines all."""
    return torch.exp(sigma * key.normal(index)).clamp(dimmest, _BRIGHTEST)


def _visibility_draw(key: Key, cells: Tensor) -> Tensor:
    """Return the number in [0, 1) that decides whether a cell is visible in vivo."""
    return key.child("in vivo").child("visible").uniform(cells)


def _ids(somata: Somata) -> Tensor:
    return torch.arange(len(somata), device=somata.center_um.device)
