"""Several transforms as one, for arrays and for tensors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import Affine, as_points

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from napari_neurobridge.spaces.graph import Transform


@runtime_checkable
class TensorTransform(Protocol):
    """A transform that also maps tensors, on whatever device they lie."""

    def map_tensor(self, points: Tensor) -> Tensor:
        """Map points of shape (N, 3), µm (z, y, x); dtype and device stay."""


def map_tensor(transform: Transform, points: Tensor) -> Tensor:
    """Map a tensor by any transform, by its own `map_tensor` if it has one.

    Parameters
    ----------
    transform : Transform
        An `Affine` is applied on the tensor's device; any other transform without a
        `map_tensor` of its own through its `map_points`, on the CPU.
    points : Tensor, shape (N, 3)
        µm (z, y, x).
    """
    if isinstance(transform, TensorTransform):
        return transform.map_tensor(points)
    if isinstance(transform, Affine):
        linear, translation = (
            points.new_tensor(part.tolist()) for part in (transform.linear, transform.translation)
        )
        return points @ linear.T + translation
    return points.new_tensor(transform.map_points(points.cpu().double().numpy()))


@dataclass(frozen=True)
class Chain:
    """Transforms applied one after the other; itself a `Transform`.

    Parameters
    ----------
    steps : tuple of Transform
        The first is applied first.

    Raises
    ------
    InputError
        If there is no step, or one does not start where the last one ended.
    """

    steps: tuple[Transform, ...]

    def __post_init__(self) -> None:
        if not self.steps:
            raise InputError("A chain needs at least one transform.")
        for first, second in pairwise(self.steps):
            if first.target != second.source:
                raise InputError(
                    f"Cannot chain {first.source} → {first.target} "
                    f"with {second.source} → {second.target}."
                )

    @property
    def source(self) -> str:
        """Space that points come from."""
        return self.steps[0].source

    @property
    def target(self) -> str:
        """Space that points go to."""
        return self.steps[-1].target

    def map_points(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map points of shape (N, 3), µm (z, y, x), from source to target."""
        mapped = as_points(points)
        for step in self.steps:
            mapped = step.map_points(mapped)
        return mapped

    def map_tensor(self, points: Tensor) -> Tensor:
        """Map a tensor of shape (N, 3), µm (z, y, x); dtype and device stay."""
        for step in self.steps:
            points = map_tensor(step, points)
        return points

    def inverse(self) -> Chain:
        """Return the map from target back to source."""
        return Chain(tuple(step.inverse() for step in reversed(self.steps)))
