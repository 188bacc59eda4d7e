"""Real neurons from reconstructions, as clouds of points.

Each reconstruction is turned upright, cut to its local part and sampled once; a cell is then
a copy of one of them, turned about the vertical, mirrored, and made a little larger or smaller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.cloud import Morphology, Part
from napari_neurobridge.simulation.neurons.branches import below_surface, length_of, unit, vectors
from napari_neurobridge.simulation.neurons.soma_shapes import shape_somata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.io.morphology import Reconstruction
    from napari_neurobridge.simulation.cloud import Somata
    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.simulation.neurons.morphology import MorphologyParams

_SPACING_UM = 1.3
# Largest difference of a copy's size from that of its reconstruction.
_SCALE = 0.1
_PLAUSIBLE_SOMA_UM = (3.0, 12.0)
# What lies closer to the centre belongs to the soma.
_SOMA_SPACE_UM = 4.0
_UP = (-1.0, 0.0, 0.0)
_CELLS_AT_ONCE = 100

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Template:
    """One reconstruction, upright, with its soma at the origin.

    ``points`` (P, 5): z, y, x in µm, volume in µm³, and part; ``soma_um`` is 0 where unknown.
    """

    points: Floats
    soma_um: float
    pyramidal: bool


class ReconstructedNeurons:
    """Neurons that are copies of reconstructions; implements `cloud.Neurons`.

    Parameters
    ----------
    somata : Somata
        All cells of the tissue. A pyramidal cell gets a reconstruction with an apical dendrite
        and an interneuron one without, as far as there are any.
    reconstructions : sequence of Reconstruction
        At least one. Apical dendrites are turned towards the surface (-z); nodes of other types
        than soma and dendrites are taken for axon. Where a soma has a plausible radius (3 to
        12 µm), its copies have that, else the one of the tissue.
    params : MorphologyParams
        ``reach_um``, ``size`` and ``soma`` count; the rest is for procedural neurons.
    key : Key
        Source of all randomness.

    Attributes
    ----------
    reach_um : float
        No point of a cell lies farther from the centre of its soma.
    cells_at_once : int
        How many cells to ask for together.

    Raises
    ------
    InputError
        If there is no reconstruction, or one has no process.
    """

    def __init__(
        self,
        somata: Somata,
        reconstructions: Sequence[Reconstruction],
        params: MorphologyParams,
        key: Key,
    ) -> None:
        if not reconstructions:
            raise InputError("There is no reconstruction to make neurons of; give one at least.")
        self.reach_um = params.reach_um
        self.cells_at_once = _CELLS_AT_ONCE
        self._somata = somata
        self._params = params
        self._key = key
        cut_um = params.reach_um / (params.size * (1 + _SCALE))
        templates = [_template(neuron, cut_um) for neuron in reconstructions]
        # Those with an apical dendrite come first, so that each kind is a run of templates.
        templates.sort(key=lambda template: not template.pyramidal)
        self._n_templates = len(templates)
        self._n_pyramidal = sum(template.pyramidal for template in templates)
        device = somata.center_um.device
        points = np.concatenate([template.points for template in templates]).astype(np.float32)
        self._points = torch.from_numpy(points).to(device)
        self._count = torch.tensor([len(t.points) for t in templates], device=device)
        self._first = torch.cumsum(self._count, 0) - self._count
        self._soma_um = torch.tensor([t.soma_um for t in templates], device=device)

    def grow(self, cells: Tensor) -> Morphology:
        """Return the points of cells (ids, int64, (K,)): the same for a cell in any batch."""
        word = self._key.child("cell").bits(cells)
        template = self._drawn(word, self._somata.pyramidal[cells])
        return Morphology.join(
            [self._soma(cells, word, template), self._processes(cells, word, template)]
        )

    def _drawn(self, word: Tensor, pyramidal: Tensor) -> Tensor:
        """Return the template of each cell (K,)."""
        some, others = self._n_pyramidal, self._n_templates - self._n_pyramidal
        low = torch.where(pyramidal, 0, some if others else 0)
        count = torch.where(pyramidal, some or others, others or some)
        return low + (self._key.child("template").uniform(word) * count).long()

    def _soma(self, cells: Tensor, word: Tensor, template: Tensor) -> Morphology:
        somata = self._somata
        center, pyramidal = somata.center_um[cells], somata.pyramidal[cells]
        stated = self._soma_um[template]
        return shape_somata(
            cells,
            word,
            center,
            torch.where(stated > 0, stated, somata.radius_um[cells]),
            center.new_tensor(_UP).expand(len(cells), 3),
            pyramidal,
            self._params.soma,
            self._key.child("soma"),
        )

    def _processes(self, cells: Tensor, word: Tensor, template: Tensor) -> Morphology:
        count = self._count[template]
        row = torch.repeat_interleave(count)

        def spread(values: Tensor) -> Tensor:
            """Give each point the value of its cell."""
            return values.index_select(0, row)

        shift = self._first[template] - (torch.cumsum(count, 0) - count)
        index = torch.arange(len(row), device=cells.device) + spread(shift)
        z, y, x, volume, part = self._points.index_select(0, index).unbind(1)
        share = 2 * self._key.child("scale").uniform(word) - 1
        scale = self._params.size * (1 + _SCALE * share)
        cosine, sine, mirror = self._turns(word, scale)
        ceiling = self._somata.depth_um[cells].clamp(min=0)
        offset = torch.stack(
            [
                below_surface(z * spread(scale), spread(ceiling)),
                y * spread(cosine) - x * spread(sine),
                y * spread(sine * mirror) + x * spread(cosine * mirror),
            ],
            dim=1,
        )
        return Morphology(
            spread(self._somata.center_um[cells]) + offset,
            volume * spread(scale * scale * scale),
            spread(cells),
            part.long(),
            length_of(offset, 1),
        )

    def _turns(self, word: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return cosines and sines of turns about z, times the scale, and 1 or -1 to mirror."""
        # The third number is kept out of the way, so that y and x alone point somewhere.
        flat = vectors(word, self._key.child("turn")) * scale.new_tensor([0.0, 1.0, 1.0])
        _, cosine, sine = (scale[:, None] * unit(flat)).unbind(1)
        mirror = torch.where(self._key.child("mirror").uniform(word) < 0.5, -1.0, 1.0)
        return cosine, sine, mirror


def _template(neuron: Reconstruction, cut_um: float) -> _Template:
    position = (neuron.position_um - neuron.position_um[0]) @ _upright(neuron).T
    local = neuron.keep(neuron.distance_um <= cut_um)
    position = position[np.isin(neuron.id, local.id)]
    child = np.flatnonzero((local.parent >= 0) & (local.type != Part.SOMA))
    above = local.parent[child]
    count = np.maximum(np.ceil(local.edge_um[child] / _SPACING_UM), 1).astype(np.int64)
    edge = np.repeat(np.arange(len(child)), count)
    nth = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    share = ((nth + 0.5) / count[edge])[:, None]
    ends = np.column_stack([position, local.radius_um])
    points = ends[above][edge] * (1 - share) + ends[child][edge] * share
    # The soma's own radius is none of the process that leaves it.
    from_soma = (local.type[above] == Part.SOMA)[edge]
    radius = np.where(from_soma, local.radius_um[child][edge], points[:, 3])
    volume = math.pi * radius**2 * (local.edge_um[child] / count)[edge]
    kind = np.where(np.isin(local.type, (Part.BASAL, Part.APICAL)), local.type, Part.AXON)
    table = np.column_stack([points[:, :3], volume, kind[child][edge]])
    table = table[np.linalg.norm(table[:, :3], axis=1) > _SOMA_SPACE_UM]
    if not len(table):
        raise InputError(f"{neuron.name} has no dendrite or axon near its soma; leave it out.")
    low, high = _PLAUSIBLE_SOMA_UM
    stated = neuron.has_radii and low <= neuron.radius_um[0] <= high
    return _Template(
        table, float(neuron.radius_um[0]) if stated else 0.0, bool((kind == Part.APICAL).any())
    )


def _upright(neuron: Reconstruction) -> Floats:
    """Return the rotation (3, 3) that turns the mean direction of apical dendrites to -z."""
    apical = neuron.position_um[neuron.type == Part.APICAL] - neuron.position_um[0]
    mean = apical.mean(axis=0) if len(apical) else np.zeros(3)
    length = float(np.linalg.norm(mean))
    if length == 0:
        return np.eye(3)
    start, up = mean / length, np.array(_UP)
    cosine = float(start @ up)
    if cosine < -1 + 1e-12:
        return np.diag([-1.0, -1.0, 1.0])
    # Rodrigues' formula for the shortest turn from one unit vector to another.
    z, y, x = np.cross(start, up)
    cross = np.array([[0, -x, y], [x, 0, -z], [-y, z, 0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + cosine))
