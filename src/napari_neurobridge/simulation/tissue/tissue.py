"""A block of cortex: cells with their shapes, and vessels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import torch

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.cloud import Morphology, Neurons, Somata
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.tissue.somata import place_somata
from napari_neurobridge.simulation.tissue.vasculature import grow_vessels

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.simulation.tissue.somata import TissueParams
    from napari_neurobridge.simulation.tissue.vasculature import VesselParams
    from napari_neurobridge.simulation.tissue.vessels import Vessels
    from napari_neurobridge.types import Vec3

NeuronFactory: TypeAlias = Callable[[Somata, Key], Neurons]
"""Makes the shapes of the cells in a table."""


@dataclass(frozen=True, eq=False)
class Tissue:
    """A block of cortex. Space and unit: tissue, µm (z, y, x).

    Attributes
    ----------
    low_um, high_um : Vec3
        Corners of the block that holds the somata; processes and vessels may leave it.
    top_um : float
        Depth of z = 0 under the surface of the brain.
    somata : Somata
        Its cells; the id of a cell is its row.
    neurons : Neurons
        Their shapes.
    vessels : Vessels
        Its blood vessels.
    tight : bool
        Whether `chunks` leaves out the cells none of whose points lies in the box, instead of
        those too far away for any cell to reach it. This needs the bounds of all cells: the
        first time every cell is grown once. Worth it where many boxes cut the tissue.
    """

    low_um: Vec3
    high_um: Vec3
    top_um: float
    somata: Somata
    neurons: Neurons
    vessels: Vessels
    tight: bool = False

    def chunks(self, low_um: Vec3 | Tensor, high_um: Vec3 | Tensor) -> Iterator[Morphology]:
        """Grow the cells that may have points in a box, a few at once, by rising id.

        Points outside the box come along.

        Parameters
        ----------
        low_um, high_um : Vec3 or Tensor, shape (3,)
            Corners of the box.
        """
        cells = self.cells_near(low_um, high_um)
        for some in torch.split(cells, self.neurons.cells_at_once):
            if len(some):
                yield self.neurons.grow(some)

    def cells_near(self, low_um: Vec3 | Tensor, high_um: Vec3 | Tensor) -> Tensor:
        """Return the ids of the cells that `chunks` grows, int64, (K,)."""
        center = self.somata.center_um
        low = torch.as_tensor(low_um, dtype=center.dtype, device=center.device)
        high = torch.as_tensor(high_um, dtype=center.dtype, device=center.device)
        if self.tight:
            lowest, highest = self._bounds_um
            near = ((lowest <= high) & (highest >= low)).all(dim=1)
        else:
            gap = torch.maximum(low - center, center - high).clamp_(min=0)
            near = gap.norm(dim=1) <= self.neurons.reach_um
        return near.nonzero()[:, 0]

    @cached_property
    def _bounds_um(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest coordinates of the points of each cell, both (N, 3)."""
        lowest = torch.full_like(self.somata.center_um, torch.inf)
        highest = torch.full_like(self.somata.center_um, -torch.inf)
        everyone = torch.arange(len(self.somata), device=lowest.device)
        for cells in torch.split(everyone, self.neurons.cells_at_once):
            grown = self.neurons.grow(cells)
            row = grown.cell[:, None].expand(-1, 3)
            lowest.scatter_reduce_(0, row, grown.position_um, "amin")
            highest.scatter_reduce_(0, row, grown.position_um, "amax")
        return lowest, highest


def make_tissue(
    low_um: Vec3,
    high_um: Vec3,
    params: TissueParams,
    vessel_params: VesselParams,
    neurons: NeuronFactory,
    key: Key,
    *,
    device: torch.device | str = "cpu",
) -> Tissue:
    """Fill a block with cells and vessels.

    Parameters
    ----------
    low_um, high_um : Vec3
        Corners of the block, µm (z, y, x) in tissue space.
    params : TissueParams
        Densities, and how deep under the surface the block may lie.
    vessel_params : VesselParams
        Sizes and densities of the vessels.
    neurons : callable
        Makes the shapes of the cells in a table, from a key of its own.
    key : Key
        Source of all randomness.
    device : torch.device or str
        Where tables and points lie.

    Raises
    ------
    InputError
        If the block holds no tissue, or is too small for so many cells.
    """
    if not all(low < high for low, high in zip(low_um, high_um, strict=True)):
        raise InputError(f"A block of tissue from {low_um} to {high_um} µm holds nothing.")
    top_um = float(key.child("top").rng().uniform(*params.top_um))
    vessels = grow_vessels(low_um, high_um, top_um, vessel_params, key.child("vessels"), device)
    somata = place_somata(
        low_um, high_um, top_um, params, key.child("somata"), device, vessels=vessels
    )
    shapes = neurons(somata, key.child("neurons"))
    return Tissue(low_um, high_um, top_um, somata, shapes, vessels)
