"""Procedural cortical neurons as clouds of points.

Sizes and counts are those of the part of a mouse neuron that lies within about 200 µm of its
soma; `morphometry` measures them, and a test compares them with real reconstructions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from napari_neurobridge.io.morphology import Reconstruction
from napari_neurobridge.simulation.cloud import Morphology, Part
from napari_neurobridge.simulation.neurons.arbors import PART_OF_KIND, ArborParams, Arbors, Cells
from napari_neurobridge.simulation.neurons.branches import LARGEST_BEAD, Room, Run, unit, vectors
from napari_neurobridge.simulation.neurons.soma_shapes import SomaParams, shape_somata

if TYPE_CHECKING:
    from napari_neurobridge.simulation.cloud import Somata
    from napari_neurobridge.simulation.keyed import Key

# Points of the apical trunk fill its thickness; other processes are thinner than a voxel.
_TRUNK_FILL = 0.5
_MOST_FILL = 2.0

_CELLS_AT_ONCE = 256


class MorphologyParams(ArborParams):
    """What shapes a neuron: the fields of `ArborParams`, and its soma.

    Attributes
    ----------
    soma : SomaParams
        Shape of somata; their radii come with the tissue.
    """

    soma: SomaParams = SomaParams()


class ProceduralNeurons:
    """Neurons that grow by rules; implements `cloud.Neurons`.

    Parameters
    ----------
    somata : Somata
        All cells of the tissue. Neurons are grown on the device on which these lie.
    params : MorphologyParams
        What shapes a neuron.
    key : Key
        Source of all randomness.

    Attributes
    ----------
    reach_um : float
        No point of a cell lies farther from the centre of its soma.
    cells_at_once : int
        How many cells to ask for together.
    """

    def __init__(self, somata: Somata, params: MorphologyParams, key: Key) -> None:
        self.reach_um = params.reach_um
        self.cells_at_once = _CELLS_AT_ONCE
        self._somata = somata
        self._params = params
        self._key = key
        self._arbors = Arbors(params, key.child("arbors"), somata.center_um.device)
        # How far a point of the trunk may lie from its axis, in each of three directions.
        fill_um = _TRUNK_FILL * _MOST_FILL * params.trunk_radius_um[1] * LARGEST_BEAD
        self._course_reach_um = params.reach_um - math.sqrt(3) * fill_um
        self._parts = torch.tensor(PART_OF_KIND, device=somata.center_um.device)

    def grow(self, cells: Tensor) -> Morphology:
        """Return the points of cells (ids, int64, (K,)): the same for a cell in any batch."""
        batch = self._batch(cells)
        center = self._somata.center_um[cells]
        soma = shape_somata(
            cells,
            batch.word,
            center,
            batch.radius_um,
            batch.apical,
            batch.pyramidal,
            self._params.soma,
            self._key.child("soma"),
        )
        runs = self._arbors.grow(batch)
        pieces = [self._points(run, cells, center) for run in runs]
        trunk = pieces[0].position_um.view(-1, runs[0].steps, 3)
        noise = self._key.child("fill").normal(runs[0].buds.word, 3 * runs[0].steps)
        noise = noise.view_as(trunk).clamp(-_MOST_FILL, _MOST_FILL)
        trunk += noise.mul_((_TRUNK_FILL * runs[0].radius_um)[:, :, None])
        return Morphology.join([soma, *pieces])

    def tree(self, cell: int) -> Reconstruction:
        """Return one cell as a tree, with the centre of its soma at the origin."""
        batch = self._batch(torch.tensor([cell], device=self._somata.center_um.device))
        runs = self._arbors.grow(batch)
        parts = [self._parts[run.buds.kind][:, None].expand(-1, run.steps) for run in runs]
        total = 1 + runs[-1].end
        return Reconstruction(
            name=f"cell {cell}",
            id=np.arange(1, total + 1),
            type=_column(int(Part.SOMA), parts).astype(np.int64),
            position_um=np.concatenate([np.zeros((1, 3)), *(_places(run) for run in runs)]),
            radius_um=_column(batch.radius_um.item(), [run.radius_um for run in runs]),
            # The soma is row 0, so that node n of the runs is row n + 1.
            parent=_column(-1, [_parents(run) + 1 for run in runs]).astype(np.int64),
        )

    def _batch(self, cells: Tensor) -> Cells:
        somata = self._somata
        word = self._key.child("cell").bits(cells)
        tilt = self._params.tilt * vectors(word, self._key.child("tilt"))
        depth = somata.depth_um[cells]
        return Cells(
            word,
            unit(tilt + tilt.new_tensor([-1.0, 0.0, 0.0])),
            somata.radius_um[cells],
            somata.pyramidal[cells],
            depth,
            Room(self._course_reach_um, depth.clamp(min=0)),
        )

    def _points(self, run: Run, cells: Tensor, center_um: Tensor) -> Morphology:
        buds = run.buds
        position = run.course_um.permute(0, 2, 1) + center_um[buds.row][:, None]
        return Morphology(
            position.reshape(-1, 3),
            run.volume_um3().view(-1),
            cells[buds.row].repeat_interleave(run.steps),
            self._parts[buds.kind].repeat_interleave(run.steps),
            run.distance_um.reshape(-1),
        )


def _parents(run: Run) -> Tensor:
    """Return the number of the node before each node, shape (B, T); -1 for the soma."""
    branch = torch.arange(len(run.buds), device=run.radius_um.device)
    before = run.node(branch[:, None], torch.arange(-1, run.steps - 1, device=branch.device))
    before[:, 0] = run.buds.parent
    return before


def _places(run: Run) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return run.course_um.permute(0, 2, 1).reshape(-1, 3).cpu().double().numpy()


def _column(first: float, pieces: list[Tensor]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the value of the root and those of all points, shape (N,)."""
    values = torch.cat([piece.reshape(-1).cpu().double() for piece in pieces])
    return np.concatenate([[first], values.numpy()])
