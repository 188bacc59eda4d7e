"""Blood vessels as tubes along the links of a graph.

What is kept is the graph of the centrelines; the points that fill the lumen are made for
the box asked for, and are the same in whatever box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree

from napari_neurobridge.simulation.cloud import PointCloud

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.types import Vec3

# A third of a voxel of the images, and small beside their blur.
_POINT_UM3 = 2.5
_POINTS_AT_ONCE = 1 << 19
# The plane is filled evenly by multiples of these (Roberts' R2, the plastic number to the
# powers -1 and -2), here as shares of 2^32 so that every device finds the same fractions.
_WORD = 1 << 32
_R2 = (round(0.7548776662466927 * _WORD), round(0.5698402909980532 * _WORD))
_NEAR_SEGMENTS = 4

Float64Array = npt.NDArray[np.float64]


class VesselKind(IntEnum):
    """Where in the tree of vessels a tube belongs."""

    PIAL = 0
    PENETRATING = 1
    CAPILLARY = 2


@dataclass(frozen=True, eq=False)
class Vessels:
    """A graph of tubes. Space and unit: tissue, µm (z, y, x).

    Attributes
    ----------
    node_um : Tensor, shape (V, 3)
        Points of the centrelines, float32.
    segment : Tensor of int64, shape (S, 2)
        The two nodes that a straight piece of tube joins, at most about 10 µm apart.
    radius_um : Tensor, shape (S, 2)
        Radius of the piece at either node; between them it changes linearly.
    kind : Tensor of int64, shape (S,)
        A `VesselKind`.
    key : Key
        Of where in each tube its points lie.
    """

    node_um: Tensor
    segment: Tensor
    radius_um: Tensor
    kind: Tensor
    key: Key

    @cached_property
    def _ends_um(self) -> tuple[Tensor, Tensor]:
        return self.node_um[self.segment[:, 0]], self.node_um[self.segment[:, 1]]

    @cached_property
    def volume_um3(self) -> Tensor:
        """Volume of each piece, (S,)."""
        start, end = self._ends_um
        first, second = self.radius_um.unbind(dim=1)
        length = (end - start).norm(dim=1)
        volume: Tensor = math.pi / 3 * length * (first.square() + first * second + second.square())
        return volume

    @cached_property
    def _branch_nodes(self) -> Tensor:
        degree = torch.bincount(self.segment.flatten(), minlength=len(self.node_um))
        return (degree >= 3).nonzero()[:, 0]

    @property
    def branch_points_um(self) -> Tensor:
        """Where three or more tubes meet, (B, 3)."""
        return self.node_um[self._branch_nodes]

    @property
    def branch_radius_um(self) -> Tensor:
        """Radius of the widest tube that meets in each branch point, (B,)."""
        widest = self.radius_um.new_zeros(len(self.node_um))
        widest.scatter_reduce_(0, self.segment.flatten(), self.radius_um.flatten(), "amax")
        return widest[self._branch_nodes]

    def points(
        self, low_um: Vec3 | Tensor, high_um: Vec3 | Tensor, *, point_um3: float = _POINT_UM3
    ) -> PointCloud:
        """Fill the lumen in a box evenly with points.

        They add up to a density of 1, and to more where tubes meet.

        Parameters
        ----------
        low_um, high_um : Vec3 or Tensor, shape (3,)
            The box, without its upper faces: boxes side by side share no point.
        point_um3 : float
            What one point stands for, about. Larger for coarser voxels; another set of points.

        Returns
        -------
        PointCloud
            ``amount`` is the volume in µm³ that a point stands for.
        """
        low = torch.as_tensor(low_um, dtype=torch.float32, device=self.node_um.device)
        high = torch.as_tensor(high_um, dtype=torch.float32, device=self.node_um.device)
        start, end = self._ends_um
        reach = self.radius_um.amax(dim=1, keepdim=True)
        meets = (torch.minimum(start, end) - reach < high) & (
            torch.maximum(start, end) + reach > low
        )
        pieces = [PointCloud(low.new_empty((0, 3)), low.new_empty(0))]
        for segments, counts in self._batches(meets.all(dim=1).nonzero()[:, 0], point_um3):
            cloud = self._fill(segments, counts)
            inside = ((cloud.position_um >= low) & (cloud.position_um < high)).all(dim=1)
            pieces.append(PointCloud(cloud.position_um[inside], cloud.amount[inside]))
        return PointCloud.join(pieces)

    def _batches(self, segments: Tensor, point_um3: float) -> Iterator[tuple[Tensor, Tensor]]:
        """Cut a list of pieces of tube where memory asks for it; with points for each piece."""
        counts = (self.volume_um3[segments] / point_um3).ceil().long().clamp_(min=1)
        batch = counts.cumsum(0).sub_(1).div_(_POINTS_AT_ONCE, rounding_mode="floor")
        sizes = torch.unique_consecutive(batch, return_counts=True)[1].tolist()
        return zip(torch.split(segments, sizes), torch.split(counts, sizes), strict=True)

    def _fill(self, segments: Tensor, counts: Tensor) -> PointCloud:
        """Make the points of some pieces of tube."""
        owner = torch.repeat_interleave(counts)
        number = torch.arange(len(owner), device=owner.device)
        number -= (counts.cumsum(0) - counts).index_select(0, owner)
        share, turn = self._evenly(segments, owner, number)
        count = counts.float().index_select(0, owner)
        along = (number + 0.5) / count

        start, end = (ends[segments] for ends in self._ends_um)
        first, second = self.radius_um[segments].unbind(dim=1)
        radius = torch.lerp(first.index_select(0, owner), second.index_select(0, owner), along)
        area_um3 = (math.pi * (end - start).norm(dim=1)).index_select(0, owner) / count
        side, up = _across(end - start)
        angle = turn.mul_(2 * math.pi)
        distance = share.sqrt_().mul_(radius)
        position = start.index_select(0, owner)
        position.addcmul_((end - start).index_select(0, owner), along[:, None])
        position.addcmul_(side.index_select(0, owner), (distance * angle.cos())[:, None])
        position.addcmul_(up.index_select(0, owner), (distance * angle.sin())[:, None])
        return PointCloud(position, radius.square_().mul_(area_um3))

    def _evenly(self, segments: Tensor, owner: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
        """Return two numbers in [0, 1] for each point that fill the square evenly."""
        phase = self.key.bits(segments)
        phases = (phase & (_WORD - 1), (phase >> 32) & (_WORD - 1))
        first, second = (
            ((number * step).add_(offset.index_select(0, owner)).bitwise_and_(_WORD - 1))
            .float()
            .mul_(1 / _WORD)
            for step, offset in zip(_R2, phases, strict=True)
        )
        return first, second

    @cached_property
    def _nearest(self) -> list[tuple[cKDTree, Float64Array, Float64Array, Float64Array]]:
        """Search trees over the middles of the pieces of each kind, with ends and radii."""
        start, end = (ends.cpu().double().numpy() for ends in self._ends_um)
        radius, kind = self.radius_um.cpu().double().numpy(), self.kind.cpu().numpy()
        # Kinds apart: among the nearest middles, capillaries would hide a wide vessel.
        return [
            (cKDTree((start[own] + end[own]) / 2), start[own], end[own], radius[own])
            for own in (kind == value for value in VesselKind)
            if own.any()
        ]

    def clearance_um(self, points_um: npt.ArrayLike) -> Float64Array:
        """Return how far points lie from the nearest wall, negative inside a vessel.

        Parameters
        ----------
        points_um : array_like, shape (N, 3)

        Returns
        -------
        ndarray, shape (N,)
            µm; infinite where there is no vessel at all.
        """
        points = np.asarray(points_um, np.float64).reshape(-1, 3)
        clearance = np.full(len(points), np.inf)
        for tree, start, end, radius in self._nearest:
            nearest = tree.query(points, range(1, min(_NEAR_SEGMENTS, len(start)) + 1))[1]
            axis = end[nearest] - start[nearest]
            offset = points[:, None] - start[nearest]
            along = (offset * axis).sum(-1) / np.maximum((axis * axis).sum(-1), 1e-12)
            along = along.clip(0, 1)
            wall = radius[nearest, 0] * (1 - along) + radius[nearest, 1] * along
            distance = np.linalg.norm(offset - along[..., None] * axis, axis=-1) - wall
            clearance = np.minimum(clearance, distance.min(axis=1))
        return clearance


def _across(axis: Tensor) -> tuple[Tensor, Tensor]:
    """Return two unit vectors across each axis (S, 3) and each other."""
    axis = torch.nn.functional.normalize(axis, dim=1)
    # The coordinate axis that is least along the tube.
    least = torch.nn.functional.one_hot(axis.abs().argmin(dim=1), 3).to(axis)
    side = torch.nn.functional.normalize(torch.linalg.cross(axis, least), dim=1)
    return side, torch.linalg.cross(axis, side)
