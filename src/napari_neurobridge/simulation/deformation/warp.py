"""What all the simulator's warps have in common: one function for arrays and tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from napari_neurobridge.spaces.affine import as_points

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

# Points at once: some dozens of numbers for each stay in a CPU's cache, or fill a GPU.
_CHUNK = {"cpu": 1 << 15}
_ACCELERATOR_CHUNK = 1 << 21


class Stage(Protocol):
    """One step of a warp: a one-to-one map of space onto itself, and its inverse.

    Coordinates are tensors of shape (3, N), rows z, y and x, of any floating dtype and on
    any device, both of which the result keeps.
    """

    def move(self, coordinates: Tensor) -> Tensor:
        """Return where points go."""

    def undo(self, coordinates: Tensor) -> Tensor:
        """Return where points came from; precise in float64 only."""


class Warp(ABC):
    """A `spaces.graph.Transform` that is not affine; also a `Stage`."""

    @property
    @abstractmethod
    def source(self) -> str:
        """Space that points come from."""

    @property
    @abstractmethod
    def target(self) -> str:
        """Space that points go to."""

    @abstractmethod
    def move(self, coordinates: Tensor) -> Tensor:
        """Map coordinates of shape (3, N), as a `Stage` does."""

    @abstractmethod
    def undo(self, coordinates: Tensor) -> Tensor:
        """Map coordinates of shape (3, N) back."""

    def map_points(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map points of shape (N, 3), µm (z, y, x), exactly, in float64."""
        return self.map_tensor(torch.from_numpy(as_points(points))).numpy()

    def map_tensor(self, points: Tensor) -> Tensor:
        """Map a cloud of shape (N, 3), µm (z, y, x), in its own dtype and on its device."""
        mapped = torch.empty_like(points)
        chunk = _CHUNK.get(points.device.type, _ACCELERATOR_CHUNK)
        for start in range(0, len(points), chunk):
            part = points[start : start + chunk]
            # Axis-first, the rows are contiguous and the products of matrices cheap.
            mapped[start : start + chunk] = self.move(part.T.contiguous()).T
        return mapped

    def inverse(self) -> Warp:
        """Return the map from target back to source."""
        return InverseWarp(self)


@dataclass(frozen=True, eq=False)
class InverseWarp(Warp):
    """A warp backwards; worked out in float64 whatever the dtype of the points.

    Attributes
    ----------
    forward : Warp
        What it undoes.
    """

    forward: Warp

    @property
    def source(self) -> str:
        """Space that points come from."""
        return self.forward.target

    @property
    def target(self) -> str:
        """Space that points go to."""
        return self.forward.source

    def move(self, coordinates: Tensor) -> Tensor:
        """Map coordinates of shape (3, N), as a `Stage` does."""
        return self.forward.undo(coordinates.double()).to(coordinates)

    def undo(self, coordinates: Tensor) -> Tensor:
        """Map coordinates of shape (3, N) back."""
        return self.forward.move(coordinates)

    def inverse(self) -> Warp:
        """Return the warp it undoes."""
        return self.forward
