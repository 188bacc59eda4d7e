"""The rules by which the dendrites and the local axon of cortical neurons grow.

Pyramidal cells have an apical trunk towards the surface, with oblique dendrites and a tuft,
and basal dendrites sideways and down; interneurons have dendrites all around; both have an
axon towards the white matter, with collaterals.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field
from torch import Tensor

from napari_neurobridge.simulation.cloud import Part
from napari_neurobridge.simulation.neurons.branches import (
    BranchTexture,
    Buds,
    Room,
    Run,
    across,
    bifurcate,
    grow,
    unit,
    vectors,
)
from napari_neurobridge.simulation.parameters import (
    Fraction,
    NonNegative,
    Parameters,
    Positive,
    Range,
)

if TYPE_CHECKING:
    from napari_neurobridge.simulation.keyed import Key

# Points of a branch: about 1.3 µm apart at the default lengths.
_TRUNK_STEPS, _AXON_STEPS, _MIDDLE_STEPS, _LAST_STEPS = 110, 72, 14, 48
_BASAL, _INTERNEURON, _OBLIQUE, _TUFT, _COLLATERAL, _TRUNK, _AXON = range(7)
PART_OF_KIND = (
    Part.BASAL,
    Part.BASAL,
    Part.APICAL,
    Part.APICAL,
    Part.AXON,
    Part.APICAL,
    Part.AXON,
)
_MAX_FORKS = 5
_MAX_STEMS = 16
# Stems begin inside the soma, so that no gap is left where it is narrow.
_STEM_START = 0.7
# Trunks and the stems of axons are straighter than other branches by this factor.
_STRAIGHT = 3.0


StemCount = Annotated[int, Field(ge=0, le=_MAX_STEMS)]


class BranchParams(Parameters):
    """How the trees of one kind of neurite grow.

    Attributes
    ----------
    stems : tuple of int
        Fewest and most trees of this kind of a cell, at most 16.
    forks : tuple of float
        Chance that a stem, its daughters, their daughters … bifurcate; at most 5 values.
    middle_um : tuple of float
        Length of branches that bifurcate.
    last_um : tuple of float
        Length of branches that do not.
    radius_um : tuple of float
        Of the stems.
    """

    stems: tuple[StemCount, StemCount]
    forks: tuple[Fraction, ...] = Field(max_length=_MAX_FORKS)
    middle_um: Range
    last_um: Range
    radius_um: Range


class ArborParams(Parameters):
    """What shapes the processes of a neuron.

    Attributes
    ----------
    size : float
        Multiplies all lengths of processes; somata have their size from the tissue.
    reach_um : float
        No point lies farther from the centre of the soma; at most 220.
    basal, interneuron, oblique, tuft, collateral : BranchParams
        Basal dendrites of pyramidal cells, dendrites of interneurons, side branches and the end
        of the apical dendrite, and branches of the axon. A tuft always begins with two stems.
    trunk_um : tuple of float
        Length of the apical dendrite up to its tuft.
    trunk_radius_um : tuple of float
        Its radius at the soma.
    layer_one_um : tuple of float
        Depth at which the apical dendrite ends in its tuft at the latest.
    tilt : float
        Angle between apical dendrites and the way to the surface, rad (1 σ for each axis).
    axon_um : tuple of float
        Length of the axon's stem.
    axon_radius_um : tuple of float
        Its radius.
    wander : float
        Turning of branches, rad for each square root of a step.
    slant : tuple of float
        Sine of the angle between daughters and their mother.
    thinning : float
        Radius of a daughter as a share of its mother's.
    roughness : float
        Standard deviation of the radius along a process, as a share of it: spines and boutons.
    """

    size: Positive = 1.0
    reach_um: float = Field(default=210.0, gt=20, le=220)
    basal: BranchParams = BranchParams(
        stems=(3, 5),
        forks=(0.97, 0.75, 0.45, 0.2),
        middle_um=(6.0, 20.0),
        last_um=(45.0, 80.0),
        radius_um=(0.6, 1.0),
    )
    interneuron: BranchParams = BranchParams(
        stems=(4, 8),
        forks=(0.9, 0.6, 0.35, 0.1),
        middle_um=(10.0, 28.0),
        last_um=(45.0, 85.0),
        radius_um=(0.5, 0.8),
    )
    oblique: BranchParams = BranchParams(
        stems=(4, 7),
        forks=(0.6, 0.4, 0.1),
        middle_um=(6.0, 20.0),
        last_um=(40.0, 75.0),
        radius_um=(0.4, 0.7),
    )
    tuft: BranchParams = BranchParams(
        stems=(2, 2),
        forks=(0.9, 0.6, 0.2),
        middle_um=(10.0, 28.0),
        last_um=(35.0, 75.0),
        radius_um=(0.5, 0.7),
    )
    collateral: BranchParams = BranchParams(
        stems=(3, 5),
        forks=(0.5, 0.3),
        middle_um=(12.0, 28.0),
        last_um=(45.0, 85.0),
        radius_um=(0.22, 0.3),
    )
    trunk_um: Range = (110.0, 160.0)
    trunk_radius_um: Range = (1.2, 1.9)
    layer_one_um: Range = (40.0, 100.0)
    tilt: NonNegative = 0.12
    axon_um: Range = (90.0, 140.0)
    axon_radius_um: Range = (0.3, 0.45)
    wander: NonNegative = 0.06
    slant: tuple[Fraction, Fraction] = (0.3, 0.75)
    thinning: Fraction = 0.75
    roughness: NonNegative = 0.2


@dataclass(frozen=True)
class Cells:
    """The K cells that grow together.

    Attributes
    ----------
    word : Tensor of int64, shape (K,)
        Random bits of each cell.
    apical : Tensor, shape (K, 3)
        Unit vectors: where apical dendrites lead.
    radius_um : Tensor, shape (K,)
        Of the soma.
    pyramidal : Tensor of bool, shape (K,)
    depth_um : Tensor, shape (K,)
        Of the soma, below the surface of the brain.
    room : Room
    """

    word: Tensor
    apical: Tensor
    radius_um: Tensor
    pyramidal: Tensor
    depth_um: Tensor
    room: Room


@dataclass(frozen=True)
class _Table:
    """Numbers of the kinds of branches, one row for each."""

    stems: Tensor
    forks: Tensor
    middle_um: Tensor
    last_um: Tensor
    radius_um: Tensor

    @classmethod
    def of(cls, params: ArborParams, device: torch.device) -> _Table:
        kinds = (params.basal, params.interneuron, params.oblique, params.tuft, params.collateral)
        padding = (0.0,) * (_MAX_FORKS + 1)
        return cls(
            torch.tensor([kind.stems for kind in kinds], device=device),
            torch.tensor(
                [(kind.forks + padding)[: _MAX_FORKS + 1] for kind in kinds], device=device
            ),
            params.size * torch.tensor([kind.middle_um for kind in kinds], device=device),
            params.size * torch.tensor([kind.last_um for kind in kinds], device=device),
            torch.tensor([kind.radius_um for kind in kinds], device=device),
        )


class Arbors:
    """Grows all processes of batches of cells.

    Parameters
    ----------
    params : ArborParams
    key : Key
    device : torch.device
    """

    def __init__(self, params: ArborParams, key: Key, device: torch.device) -> None:
        self._params = params
        self._key = key
        self._table = _Table.of(params, device)
        self._texture = BranchTexture(params.wander, params.roughness)
        self._smooth = BranchTexture(params.wander / _STRAIGHT, params.roughness)

    def grow(self, cells: Cells) -> list[Run]:
        """Return the runs of the cells; the first holds the apical trunks."""
        trunk = self._trunk(cells)
        axon = self._axon(cells, trunk.end)
        buds = Buds.join(
            [
                self._stems(cells),
                self._side_buds(cells, trunk, _OBLIQUE),
                self._side_buds(cells, axon, _COLLATERAL),
                self._tuft(trunk),
            ]
        )
        return [trunk, axon, *self._forest(buds, cells.room, axon.end)]

    def _trunk(self, cells: Cells) -> Run:
        """Grow apical dendrites towards layer 1, or as far as they shall reach."""
        params, key = self._params, self._key.child("trunk")
        row = torch.nonzero(cells.pyramidal)[:, 0]
        word = key.bits(cells.word[row])
        kind = torch.full_like(row, _TRUNK)
        radius = _between(params.trunk_radius_um, key.child("radius").uniform(word))
        buds = _buds_at_soma(cells, row, word, kind, cells.apical[row], radius)
        length = params.size * _between(params.trunk_um, key.child("length").uniform(word))
        end = _between(params.layer_one_um, key.child("end").uniform(word))
        length = torch.minimum(length, cells.depth_um[row] - end).clamp(min=10)
        return grow(
            buds,
            length,
            _TRUNK_STEPS,
            cells.room,
            key,
            texture=self._smooth,
            taper=0.5,
            first_node=0,
        )

    def _axon(self, cells: Cells, first_node: int) -> Run:
        """Grow the stems of axons, away from the apical dendrites."""
        params, key = self._params, self._key.child("axon")
        row = torch.arange(len(cells.word), device=cells.word.device)
        word = key.bits(cells.word)
        radius = _between(params.axon_radius_um, key.child("radius").uniform(word))
        heading = unit(0.35 * vectors(word, key.child("heading")) - cells.apical)
        buds = _buds_at_soma(cells, row, word, torch.full_like(row, _AXON), heading, radius)
        length = params.size * _between(params.axon_um, key.child("length").uniform(word))
        return grow(
            buds,
            length,
            _AXON_STEPS,
            cells.room,
            key,
            texture=self._smooth,
            taper=0.7,
            first_node=first_node,
        )

    def _stems(self, cells: Cells) -> Buds:
        """Return the buds of basal dendrites, and of all dendrites of interneurons."""
        key = self._key.child("stems")
        kind = torch.where(cells.pyramidal, _BASAL, _INTERNEURON)
        row, word = self._numbered(key, cells.word, kind)
        kind = kind[row]
        heading = unit(vectors(word, key.child("heading")))
        # Basal dendrites keep away from the apical one.
        heading = torch.where(
            cells.pyramidal[row][:, None], unit(heading - 0.5 * cells.apical[row]), heading
        )
        radius = self._radius(kind, key, word)
        return _buds_at_soma(cells, row, word, kind, heading, radius)

    def _side_buds(self, cells: Cells, run: Run, kind: int) -> Buds:
        """Return buds along the first nine tenths of stems, at right angles to the cell's axis."""
        key = self._key.child("side").child(kind)
        kinds = torch.full_like(run.buds.kind, kind)
        branch, word = self._numbered(key, run.buds.word, kinds)
        row, kinds = run.buds.row[branch], kinds[branch]
        place = 0.05 + 0.85 * key.child("place").uniform(word)
        step = (place * run.steps).long()
        axis = cells.apical[row]
        sideways = across(axis, vectors(word, key.child("heading")))
        onward = unit(run.heading[branch])
        return Buds(
            row,
            word,
            kinds,
            run.course_um[branch, :, step],
            unit(sideways + 0.3 * onward),
            self._radius(kinds, key, word),
            run.node(branch, step),
        )

    def _tuft(self, trunk: Run) -> Buds:
        """Return the buds at the end of trunks."""
        key = self._key.child("tuft")
        buds = bifurcate(trunk, key, slant=self._params.slant, thinning=1.0)
        kind = torch.full_like(buds.kind, _TUFT)
        return replace(buds, kind=kind, radius_um=self._radius(kind, key, buds.word))

    def _forest(self, buds: Buds, room: Room, first_node: int) -> list[Run]:
        """Grow trees: level by level what bifurcates, at last all that ends."""
        key, table, params = self._key.child("forest"), self._table, self._params
        runs: list[Run] = []
        tips = []
        for level in range(_MAX_FORKS + 1):
            forks = key.child("fork").uniform(buds.word) < table.forks[buds.kind, level]
            tips.append(buds.at(torch.nonzero(~forks)[:, 0]))
            buds = buds.at(torch.nonzero(forks)[:, 0])
            if not len(buds):
                break
            runs.append(self._level(buds, table.middle_um, _MIDDLE_STEPS, room, first_node))
            first_node = runs[-1].end
            buds = bifurcate(
                runs[-1], key.child("bifurcation"), slant=params.slant, thinning=params.thinning
            )
        return [*runs, self._level(Buds.join(tips), table.last_um, _LAST_STEPS, room, first_node)]

    def _level(self, buds: Buds, length_um: Tensor, steps: int, room: Room, first_node: int) -> Run:
        """Grow branches whose lengths lie in the range of their kind."""
        key = self._key.child("level")
        low, high = length_um[buds.kind].unbind(1)
        return grow(
            buds,
            _between((low, high), key.child("length").uniform(buds.word)),
            steps,
            room,
            key,
            texture=self._texture,
            taper=0.7,
            first_node=first_node,
        )

    def _numbered(self, key: Key, words: Tensor, kind: Tensor) -> tuple[Tensor, Tensor]:
        """Draw how many stems each owner has; return for each stem its owner and its word."""
        low, high = self._table.stems[kind].unbind(1)
        count = low + (key.child("count").uniform(words) * (high - low + 1)).long()
        number = torch.arange(_MAX_STEMS, device=words.device)
        owner, number = torch.nonzero(number < count[:, None], as_tuple=True)
        return owner, key.child("word").bits(words[owner] + number)

    def _radius(self, kind: Tensor, key: Key, word: Tensor) -> Tensor:
        low, high = self._table.radius_um[kind].unbind(1)
        return _between((low, high), key.child("radius").uniform(word))


def _between(limits: tuple[float, float] | tuple[Tensor, Tensor], share: Tensor) -> Tensor:
    low, high = limits
    return low + (high - low) * share


def _buds_at_soma(
    cells: Cells, row: Tensor, word: Tensor, kind: Tensor, heading: Tensor, radius: Tensor
) -> Buds:
    start = (_STEM_START * cells.radius_um[row])[:, None] * heading
    return Buds(row, word, kind, start, heading, radius, torch.full_like(row, -1))
