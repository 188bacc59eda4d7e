"""What a sampler is given, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from napari_neurobridge.types import FloatArray

RowArray: TypeAlias = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Pool:
    """The N items that nobody has annotated, as the model sees them.

    Attributes
    ----------
    uncertainty : ndarray, shape (N,)
        Entropy of the mean prediction (`napari_neurobridge.active.uncertainty`), at least 0.
    features : ndarray, shape (N, F), optional
        What the last layer reads; needed by CLUE.
    gradients : ndarray, shape (N, G), optional
        Gradient embeddings (`napari_neurobridge.active.gradients`); needed by BADGE.

    Raises
    ------
    InputError
        If the arrays do not fit each other or hold numbers that are not finite.
    """

    uncertainty: FloatArray
    features: FloatArray | None = None
    gradients: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.uncertainty.ndim != 1:
            raise InputError("A pool has one uncertainty for each item.")
        for name in ("uncertainty", "features", "gradients"):
            values: FloatArray | None = getattr(self, name)
            if values is None:
                continue
            if len(values) != len(self) or values.ndim != (1 if name == "uncertainty" else 2):
                raise InputError(
                    f"The {name} of a pool of {len(self)} items have the shape {values.shape}."
                )
            if not np.isfinite(values).all():
                raise InputError(f"The {name} of the pool hold numbers that are not finite.")
        if len(self) and self.uncertainty.min() < 0:
            raise InputError("The uncertainty of the pool is negative in places.")

    def __len__(self) -> int:
        return len(self.uncertainty)

    def check_count(self, count: int) -> None:
        """Raise `InputError` where so many items cannot be chosen."""
        if not len(self):
            raise InputError("The pool holds no item to annotate.")
        if not 1 <= count <= len(self):
            raise InputError(
                f"{count} items cannot be chosen from a pool of {len(self)}; it has to be at least "
                "one and no more than there are."
            )


class Sampler(Protocol):
    """Chooses what to have annotated."""

    def __call__(self, pool: Pool, count: int, rng: np.random.Generator) -> RowArray:
        """Return ``count`` different rows of the pool (count,), in the order of asking.

        Parameters
        ----------
        pool : Pool
        count : int
        rng : numpy.random.Generator
            The only source of chance: the same state gives the same rows.

        Raises
        ------
        InputError
            If the pool is empty or smaller than ``count``, or lacks what the sampler needs.
        """
