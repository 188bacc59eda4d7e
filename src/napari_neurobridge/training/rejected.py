"""Candidates that people rejected, as hard negatives in the batches of fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.pairs import PairSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.training.sampling import BalancedSceneSampler
    from napari_neurobridge.training.splits import IntArray


@dataclass(frozen=True, eq=False)
class RejectedPairs:
    """Crops of a cell and of a candidate that somebody says is another cell.

    Attributes
    ----------
    pairs : PairSet
        The two-photon crop of the cell, and the fMOST crop of the candidate.
    neurons : ndarray of int64, shape (N, 2)
        Which neuron either crop shows: the row of the training pair that it is in, or a number
        above all rows. Two crops of one soma have one number.
    """

    pairs: PairSet
    neurons: IntArray

    def __post_init__(self) -> None:
        if self.neurons.shape != (len(self.pairs), 2):
            raise InputError(
                f"Rejected pairs need two neurons for each of the {len(self.pairs)} pairs, not "
                f"{self.neurons.shape}."
            )
        if (self.neurons[:, 0] == self.neurons[:, 1]).any():
            raise InputError("A rejected pair shows two neurons, and one of these shows one.")

    def __len__(self) -> int:
        return len(self.pairs)


def number_neurons(
    rejected: Sequence[tuple[str, str]], training: Sequence[tuple[str, str]]
) -> IntArray:
    """Return the `RejectedPairs.neurons` of some pairs of uids, beside the training pairs."""
    known = [{pair[side]: row for row, pair in enumerate(training)} for side in (0, 1)]
    fresh: dict[tuple[int, str], int] = {}
    numbers = [
        [
            known[side].get(
                pair[side], fresh.setdefault((side, pair[side]), len(training) + len(fresh))
            )
            for side in (0, 1)
        ]
        for pair in rejected
    ]
    return np.array(numbers, dtype=np.int64).reshape(-1, 2)


class BatchRows:
    """Which rows a step takes: pairs by the sampler, and after them some rejected ones.

    Parameters
    ----------
    sampler : BalancedSceneSampler
        Of the training pairs, from whose number on rejected pairs are counted.
    rejected : RejectedPairs, optional
    most : int
        Rejected pairs of a batch at most.
    seed : int
        Of which of them.
    """

    def __init__(
        self,
        sampler: BalancedSceneSampler,
        rejected: RejectedPairs | None,
        *,
        most: int,
        seed: int,
    ) -> None:
        self._sampler = sampler
        self._rejected = rejected if rejected is not None and most else None
        self._most, self._seed = most, seed

    def batch(self, step: int) -> tuple[IntArray, IntArray | None]:
        """Return the rows (B,) of one step, and the neurons of either side, (2, B).

        Those are ``None`` without rejected pairs, when every row is a neuron of its own.
        """
        rows = self._sampler.batch(step)
        if self._rejected is None:
            return rows, None
        rng = np.random.default_rng((self._seed, step, 1))
        drawn = rng.permutation(len(self._rejected))[: self._most]
        numbers = self._rejected.neurons[drawn]
        neurons = np.stack([np.concatenate([rows, numbers[:, side]]) for side in (0, 1)])
        return np.concatenate([rows, self._sampler.n_pairs + drawn]), neurons


def with_rejected(pairs: PairSet, rejected: RejectedPairs | None) -> PairSet:
    """Return the training pairs with the rejected ones after them."""
    return pairs if rejected is None else PairSet.joined([pairs, rejected.pairs])
