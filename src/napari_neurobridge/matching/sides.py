"""The somata of one dataset as rows of an array."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_neurobridge.types import Soma

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Side:
    """The living somata of one dataset, ordered by uid.

    Attributes
    ----------
    dataset : str
    uids : tuple of str, length N
    centers_um : ndarray, shape (N, 3)
        µm (z, y, x) of the dataset's own space.
    """

    dataset: str
    uids: tuple[str, ...]
    centers_um: Float64Array

    @classmethod
    def of(cls, dataset: str, somata: Mapping[str, Soma]) -> Side:
        """Take the somata of one dataset."""
        uids = tuple(sorted(somata))
        return cls(dataset, uids, np.array([somata[u].center_um for u in uids]).reshape(-1, 3))

    def __len__(self) -> int:
        return len(self.uids)

    def same_as(self, other: Side) -> bool:
        """Return whether both are the same somata in the same places."""
        return self.uids == other.uids and np.array_equal(self.centers_um, other.centers_um)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each uid."""
        return {uid: row for row, uid in enumerate(self.uids)}
