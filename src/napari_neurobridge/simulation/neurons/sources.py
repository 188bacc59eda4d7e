"""Where the shapes of a tissue's cells come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_neurobridge.simulation.cloud import Morphology
from napari_neurobridge.simulation.neurons.morphology import ProceduralNeurons
from napari_neurobridge.simulation.neurons.reconstructions import ReconstructedNeurons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_neurobridge.io.morphology import Reconstruction
    from napari_neurobridge.simulation.cloud import Neurons, Somata
    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.simulation.neurons.morphology import MorphologyParams
    from napari_neurobridge.simulation.tissue.tissue import NeuronFactory, Tissue

# All of a block for pairs of crops, at most some 100 MB of a scene.
_KEPT_AT_ONCE = 1000


def neuron_factory(
    params: MorphologyParams, reconstructions: Sequence[Reconstruction] = ()
) -> NeuronFactory:
    """Return what makes the shapes of cells: by rules, or from reconstructions if there are any."""

    def make(somata: Somata, key: Key) -> Neurons:
        if reconstructions:
            return ReconstructedNeurons(somata, reconstructions, params, key)
        return ProceduralNeurons(somata, params, key)

    return make


class GrownNeurons:
    """All cells of a small tissue, grown once and kept. It implements `cloud.Neurons`.

    Parameters
    ----------
    tissue : Tissue
        Whose cells to grow.
    """

    def __init__(self, tissue: Tissue) -> None:
        self.reach_um = tissue.neurons.reach_um
        self._count, device = len(tissue.somata), tissue.somata.center_um.device
        self.cells_at_once = _KEPT_AT_ONCE
        everyone = torch.arange(self._count, device=device)
        batches = torch.split(everyone, tissue.neurons.cells_at_once)
        self._all = Morphology.join([tissue.neurons.grow(cells) for cells in batches])

    def grow(self, cells: Tensor) -> Morphology:
        """Return the points of cells (ids, int64, (K,))."""
        if len(cells) == self._count:
            return self._all
        wanted = torch.zeros(self._count, dtype=torch.bool, device=cells.device)
        wanted[cells] = True
        return self._all.only(wanted[self._all.cell])
