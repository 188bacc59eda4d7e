"""The one way in which points cross spaces."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import as_points

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt


class Transform(Protocol):
    """An invertible map between two named spaces."""

    @property
    def source(self) -> str:
        """Space that points come from."""

    @property
    def target(self) -> str:
        """Space that points go to."""

    def map_points(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map points of shape (N, 3), µm (z, y, x)."""

    def inverse(self) -> Transform:
        """Return the map back."""


@dataclass(frozen=True)
class SpacePath:
    """Transforms one after the other; a `Transform`.

    Parameters
    ----------
    transforms : tuple of Transform
        At least one; each starts where the one before ends.
    """

    transforms: tuple[Transform, ...]

    @property
    def source(self) -> str:
        """Space that points come from."""
        return self.transforms[0].source

    @property
    def target(self) -> str:
        """Space that points go to."""
        return self.transforms[-1].target

    def map_points(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map points of shape (N, 3), µm (z, y, x)."""
        mapped = as_points(points)
        for transform in self.transforms:
            mapped = transform.map_points(mapped)
        return mapped

    def inverse(self) -> SpacePath:
        """Return the map back."""
        return SpacePath(tuple(step.inverse() for step in reversed(self.transforms)))


class SpaceGraph:
    """Spaces joined by transforms; points take the shortest way.

    Parameters
    ----------
    transforms : iterable of Transform
        A later transform replaces an earlier one between the same two spaces.
    spaces : iterable of str
        Spaces that exist even when nothing leads to them yet.
    """

    def __init__(self, transforms: Iterable[Transform] = (), spaces: Iterable[str] = ()) -> None:
        self._edges: dict[str, dict[str, Transform]] = {space: {} for space in spaces}
        for transform in transforms:
            self.add(transform)

    @property
    def spaces(self) -> tuple[str, ...]:
        """Names of all known spaces."""
        return tuple(self._edges)

    def add(self, transform: Transform) -> None:
        """Join two spaces, in both directions."""
        self._edges.setdefault(transform.source, {})[transform.target] = transform
        self._edges.setdefault(transform.target, {})[transform.source] = transform.inverse()

    def path(self, source: str, target: str) -> tuple[Transform, ...]:
        """Return the transforms from ``source`` to ``target``, fewest first.

        Raises
        ------
        InputError
            If a space is unknown or nothing joins the two.
        """
        for space in (source, target):
            if space not in self._edges:
                known = ", ".join(self._edges) or "none"
                raise InputError(f"There is no space named '{space}'; known spaces: {known}.")
        reached: dict[str, tuple[Transform, ...]] = {source: ()}
        waiting = deque([source])
        while waiting:
            here = waiting.popleft()
            if here == target:
                return reached[here]
            for there, transform in self._edges[here].items():
                if there not in reached:
                    reached[there] = (*reached[here], transform)
                    waiting.append(there)
        raise InputError(
            f"Nothing joins '{source}' and '{target}' yet; set an orientation or register them."
        )

    def map_points(
        self, points: npt.ArrayLike, source: str, target: str
    ) -> npt.NDArray[np.float64]:
        """Map points of shape (N, 3), µm (z, y, x), from one space to another."""
        return SpacePath(self.path(source, target)).map_points(points)
