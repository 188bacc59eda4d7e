"""Balanced batches of pairs, several neurons from each of several scenes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError


class BalancedSceneSampler:
    """Draws batches of distinct neurons, each to be used with both of its images.

    The paper draws 50 neurons x 2 images (supplement 1.1). Here they come from few
    scenes at a time, because the neighbours of a cell, whose crops overlap with its own,
    are the negatives that matter in use. A batch depends on the seed and the step alone,
    so that training resumed at a step sees what it would have seen.

    Parameters
    ----------
    scenes : ndarray of int, shape (N,)
        The scene of each pair.
    neurons : int, default: 50
        Neurons per batch.
    scenes_per_batch : int, default: 4
        Scenes that the neurons of a batch come from, as far as they have enough.
    seed : int, default: 0
        Seed of all draws.

    Raises
    ------
    InputError
        If there are fewer pairs than a batch needs.
    """

    def __init__(
        self,
        scenes: npt.NDArray[np.integer],
        *,
        neurons: int = 50,
        scenes_per_batch: int = 4,
        seed: int = 0,
    ) -> None:
        if len(scenes) < neurons:
            raise InputError(
                f"a batch needs {neurons} pairs and there are {len(scenes)}; "
                "use more pairs or a smaller batch"
            )
        order = np.argsort(scenes, kind="stable")
        starts = np.flatnonzero(np.diff(scenes[order])) + 1
        self._members = np.split(order, starts)
        self.n_pairs = len(scenes)
        self._neurons = neurons
        self._scenes_per_batch = min(scenes_per_batch, neurons)
        self._seed = seed

    def batch(self, step: int) -> npt.NDArray[np.int64]:
        """Return the indices (neurons,) of the pairs of one step, all distinct."""
        rng = np.random.default_rng((self._seed, step))
        share = -(-self._neurons // self._scenes_per_batch)
        chosen: list[npt.NDArray[np.int64]] = []
        missing = self._neurons
        for scene in rng.permutation(len(self._members)):
            members = self._members[scene]
            take = min(share, missing, len(members))
            chosen.append(rng.choice(members, size=take, replace=False))
            missing -= take
            if missing == 0:
                return np.concatenate(chosen).astype(np.int64)
        # Every scene gave its share and the batch is not full: take from what is left.
        taken = np.concatenate(chosen)
        rest = np.setdiff1d(np.concatenate(self._members), taken)
        extra = rng.choice(rest, size=missing, replace=False)
        return np.concatenate((taken, extra)).astype(np.int64)
