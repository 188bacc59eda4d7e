"""Reading one channel of a stored image as (z, y, x), whatever its axes are."""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from types import EllipsisType

    from napari_neurobridge.io.source import ArrayLike

    Key: TypeAlias = SupportsIndex | slice | EllipsisType

Box: TypeAlias = tuple[slice, slice, slice]
"""Half-open ranges of voxels along z, y and x, without steps."""


class LazyVolume(ABC):
    """A (z, y, x) array on disk: basic slicing reads what it needs, nothing more.

    Attributes
    ----------
    shape : tuple of int, length 3
    dtype : dtype
    chunks : tuple of int, length 3
        What is read as a whole; reads along these borders waste nothing.
    """

    ndim = 3

    def __init__(
        self, shape: tuple[int, int, int], dtype: npt.DTypeLike, chunks: tuple[int, int, int]
    ) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.chunks = chunks

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Key | tuple[Key, ...]) -> npt.NDArray[Any]:
        box, rest = _split_key(key, self.shape)
        return self.load(box)[rest]

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        return np.asarray(self[...], dtype=dtype)

    @abstractmethod
    def load(self, box: Box) -> npt.NDArray[Any]:
        """Read one box; the result always has three axes."""


class ChannelView(LazyVolume):
    """One channel, and one moment, of an image.

    Parameters
    ----------
    array : ArrayLike
        The stored image.
    axes : str
        Its axes, a subset of "tczyx" in any order.
    channel, time : int
        What to read along axes c and t.
    """

    def __init__(self, array: ArrayLike, axes: str, *, channel: int = 0, time: int = 0) -> None:
        self._array = array
        self._axes = axes
        self._fixed = {"c": channel, "t": time}
        lengths = {a: (n, c) for a, n, c in zip(axes, array.shape, array.chunks, strict=True)}
        spatial = [lengths.get(axis, (1, 1)) for axis in "zyx"]
        shape, chunks = zip(*spatial, strict=True)
        super().__init__(shape, array.dtype, chunks)

    def load(self, box: Box) -> npt.NDArray[Any]:
        """Read one box."""
        frames = self.load_frames(box, slice(self._fixed["t"], self._fixed["t"] + 1))
        return np.asarray(frames[0])

    def load_frames(self, box: Box, frames: slice) -> npt.NDArray[Any]:
        """Read one box at several moments, shape (t, z, y, x)."""
        wanted: dict[str, int | slice] = {"t": frames, "c": self._fixed["c"]}
        wanted |= dict(zip("zyx", box, strict=True))
        piece = np.asarray(self._array[tuple(wanted[axis] for axis in self._axes)])
        kept = [axis for axis in self._axes if axis != "c"]
        order = [kept.index(axis) for axis in "tzyx" if axis in kept]
        missing = [index for index, axis in enumerate("tzyx") if axis not in kept]
        return np.expand_dims(piece.transpose(order), missing)


def _split_key(
    key: Key | tuple[Key, ...], shape: tuple[int, int, int]
) -> tuple[Box, tuple[int | slice, ...]]:
    """Split an index into the box to read, and what to take of that box."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in keys:
        position = keys.index(Ellipsis)
        keys[position : position + 1] = [slice(None)] * (4 - len(keys))
    keys += [slice(None)] * (3 - len(keys))
    if len(keys) > 3:
        raise IndexError(f"a volume has 3 axes, but {len(keys)} were indexed")
    box: list[slice] = []
    rest: list[int | slice] = []
    for part, length in zip(keys, shape, strict=True):
        if isinstance(part, slice):
            taken = range(length)[part]
            first, last = (min(taken), max(taken) + 1) if taken else (0, 0)
            box.append(slice(first, last))
            rest.append(slice(None, None, taken.step))
        else:
            index = range(length)[operator.index(part)]  # type: ignore[arg-type]
            box.append(slice(index, index + 1))
            rest.append(0)
    return (box[0], box[1], box[2]), tuple(rest)
