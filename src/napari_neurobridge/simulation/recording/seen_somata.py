"""Where somata lie, learned from the points of cells as they pass by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_neurobridge.simulation.cloud import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from napari_neurobridge.simulation.cloud import Morphology
    from napari_neurobridge.simulation.recording.footprints import Plane


class SeenSomata:
    """Centres and extents along z of the somata whose points were seen.

    Parameters
    ----------
    n_cells : int
        Number of cells of the tissue.
    """

    def __init__(self, n_cells: int) -> None:
        self._sum = torch.zeros(n_cells, 3, dtype=torch.float64)
        self._volume = torch.zeros(n_cells, dtype=torch.float64)
        self._top = torch.full((n_cells,), torch.inf)
        self._bottom = torch.full((n_cells,), -torch.inf)

    def watch(
        self, pieces: Iterable[tuple[Morphology, Tensor]]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Pass points on as `make_footprints` takes them."""
        for morphology, amount in pieces:
            soma = morphology.part == Part.SOMA
            cell, position = morphology.cell[soma].cpu(), morphology.position_um[soma].cpu()
            volume = morphology.volume_um3[soma].cpu().double()
            self._sum.index_add_(0, cell, position * volume[:, None])
            self._volume.index_add_(0, cell, volume)
            self._top.scatter_reduce_(0, cell, position[:, 0], "amin")
            self._bottom.scatter_reduce_(0, cell, position[:, 0], "amax")
            yield morphology.position_um, amount, morphology.cell

    def seen_from(self, plane: Plane) -> tuple[Tensor, Tensor]:
        """Return the centres (N, 3), NaN where unknown, and which somata the plane cuts."""
        center = self._sum / self._volume[:, None]
        low = torch.tensor(plane.origin_um)
        high = low + (torch.tensor(plane.shape) - 1) * plane.pixel_um
        inside = ((center[:, 1:] >= low) & (center[:, 1:] <= high)).all(dim=1)
        cut = (self._top <= plane.depth_um) & (self._bottom >= plane.depth_um)
        return center, inside & cut
