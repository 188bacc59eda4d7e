"""The indexed somata of one dataset, searched exactly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import ErrorKind, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_neurobridge.types import Float32Array

MOST_MISSING = 0.05
"""Share of somata that an index may lack and still rank; one soma may be missing in any case."""

_NOT_INDEXED = "not indexed for this model."


@dataclass(frozen=True, eq=False)
class Gallery:
    """The indexed living somata of one dataset, ordered by uid.

    Attributes
    ----------
    dataset : str
        Where the somata lie.
    uids : tuple of str, length N
    centers_um : ndarray of float64, shape (N, 3)
        In the dataset's own space, (z, y, x).
    embeddings : ndarray of float32, shape (N, dim)
        Unit vectors.
    n_living : int
        Somata that the dataset has; more than N while the index is incomplete.
    n_damaged : int
        Shards on disk that were left out; see `read_shards`.
    """

    dataset: str
    uids: tuple[str, ...]
    centers_um: npt.NDArray[np.float64]
    embeddings: Float32Array
    n_living: int
    n_damaged: int = 0

    def __len__(self) -> int:
        return len(self.uids)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {uid: row for row, uid in enumerate(self.uids)}

    def row(self, uid: str) -> int | None:
        """Return the row of a soma; ``None`` when it is not indexed."""
        return self._rows.get(uid)

    def missing(self, uids: Iterable[str]) -> frozenset[str]:
        """Return those of some somata that are not indexed."""
        return frozenset(uids).difference(self._rows)

    def embeddings_of(self, uids: Sequence[str]) -> Float32Array:
        """Return the embeddings of somata, shape (len(uids), dim); 0 where one is not indexed."""
        if tuple(uids) == self.uids:
            return self.embeddings
        found = np.zeros((len(uids), self.embeddings.shape[1]), dtype=np.float32)
        rows = [self._rows.get(uid, -1) for uid in uids]
        known = np.flatnonzero(np.array(rows) >= 0)
        found[known] = self.embeddings[np.array(rows)[known]]
        return found

    def search(
        self, query: Float32Array, k: int
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """Return the rows most similar to a query, and their cosine similarities.

        Parameters
        ----------
        query : ndarray, shape (dim,)
            Unit vector.
        k : int
            How many; all somata when there are fewer.

        Returns
        -------
        rows, similarities : ndarray, shape (min(k, N),)
            Best first; equal similarities in the order of the uids.

        Raises
        ------
        InputError
            If ``k`` is not positive, nothing is in the gallery, or its vectors are of another
            length.
        """
        if k < 1:
            raise InputError(f"Ask for at least one candidate, not {k}.")
        if not len(self):
            raise InputError(
                f"The somata of '{self.dataset}' are {_NOT_INDEXED}", kind=ErrorKind.NOT_INDEXED
            )
        similarities = self._compare(query)
        k = min(k, len(self))
        worst = np.partition(similarities, -k)[-k]
        shortlist = np.flatnonzero(similarities >= worst)
        best = shortlist[np.lexsort((shortlist, -similarities[shortlist]))[:k]]
        return best, similarities[best]

    def locate(self, query: Float32Array, uid: str) -> tuple[int, int, float]:
        """Return the row of one soma, its rank for a query, and its cosine similarity.

        Parameters
        ----------
        query : ndarray, shape (dim,)
            Unit vector.
        uid : str

        Returns
        -------
        row, rank : int
            The place, from 1, at which `search` would return it.
        similarity : float

        Raises
        ------
        InputError
            If the soma is not in the gallery, or its vectors are of another length.
        """
        row = self.row(uid)
        if row is None:
            raise InputError(
                f"'{uid}' of '{self.dataset}' is {_NOT_INDEXED}", kind=ErrorKind.NOT_INDEXED
            )
        similarities = self._compare(query)
        similarity = similarities[row]
        more_similar = np.count_nonzero(similarities > similarity)
        tied_before = np.count_nonzero(similarities[:row] == similarity)
        return row, int(more_similar + tied_before) + 1, float(similarity)

    def _compare(self, query: Float32Array) -> Float32Array:
        if query.shape != self.embeddings.shape[1:]:
            raise InputError(
                f"The index of '{self.dataset}' holds vectors of length "
                f"{self.embeddings.shape[1]}, not {len(query)} as the model makes them; delete "
                "the folder 'embeddings' of the project and index again."
            )
        return self.embeddings @ np.asarray(query, dtype=np.float32)

    @property
    def note(self) -> str:
        """What a ranking by it leaves out, in a sentence; empty if nothing."""
        missing = self.n_living - len(self)
        if not missing:
            return ""
        return f"Not listed: {missing} of {self.n_living} somata of '{self.dataset}', not indexed."

    def require_most(self) -> None:
        """Raise `InputError` where there is no soma, or the index lacks more than a few of them."""
        if self.n_living == 0:
            raise InputError(f"'{self.dataset}' has no somata to rank.", kind=ErrorKind.NO_SOMATA)
        if not lacks_few(len(self), self.n_living):
            left_out = " (damaged files of the index were left out)" if self.n_damaged else ""
            raise InputError(
                f"{self.n_living - len(self)} of {self.n_living} somata of '{self.dataset}'"
                f"{left_out} are {_NOT_INDEXED}",
                kind=ErrorKind.NOT_INDEXED,
            )


def lacks_few(n_embedded: int, n_somata: int) -> bool:
    """Return whether an index holds so many of the somata that one can rank with it.

    One soma that somebody added must not make the index useless, and a list of the few that
    a cancelled run has come to must not pass for a ranking.
    """
    return n_embedded > 0 and n_somata - n_embedded <= max(1, int(MOST_MISSING * n_somata))
