"""Whether distances between domains group them as somebody declared beforehand.

NeuroADDA, section 4.5: an average-linkage dendrogram, the index of Fowlkes and Mallows (A method
for comparing two hierarchical clusterings, 1983), and a permutation test that keeps the sizes of
the groups.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from math import factorial, prod
from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

Labels = tuple[int, ...]
MOST_GROUPINGS = 10_000
"""Groupings that are all tried; of more, random ones are."""
_RANDOM_GROUPINGS = 9_999


@dataclass(frozen=True, slots=True)
class GroupingTest:
    """How well a clustering agrees with declared groups.

    Attributes
    ----------
    clusters : tuple of int
        Of each domain, numbered by first appearance.
    index : float
        Of Fowlkes and Mallows: 1 where the two agree, 0 where no two domains share both.
    p_value : float
        Share of the groupings of the same sizes that agree as well.
    floor : float
        The smallest p-value that there can be, however well they agree.
    n_groupings : int
        Different groupings of those sizes.
    exact : bool
        Whether all of them were tried, or 9,999 random ones.
    """

    clusters: Labels
    index: float
    p_value: float
    floor: float
    n_groupings: int
    exact: bool


def dendrogram(distances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the average-linkage dendrogram of a symmetric matrix, as SciPy's `linkage` does.

    An unbiased MMD² below zero is taken for no distance.

    Parameters
    ----------
    distances : ndarray, shape (K, K)

    Returns
    -------
    ndarray, shape (K - 1, 4)

    Raises
    ------
    InputError
        If the matrix is not symmetric or smaller than 2 × 2.
    """
    if distances.ndim != 2 or len(distances) < 2 or not np.allclose(distances, distances.T):
        raise InputError("A dendrogram needs a symmetric matrix of at least two domains.")
    return np.asarray(linkage(squareform(np.maximum(distances, 0), checks=False), "average"))


def cut_dendrogram(tree: npt.NDArray[np.float64], count: int) -> Labels:
    """Return the cluster of each of K domains after the first K - count merges of a dendrogram."""
    domains = len(tree) + 1
    members = {row: [row] for row in range(domains)}
    for merge, (left, right) in enumerate(tree[: domains - count, :2].astype(int).tolist()):
        members[domains + merge] = members.pop(left) + members.pop(right)
    cluster = {row: number for number, rows in members.items() for row in rows}
    return _numbered(cluster[row] for row in range(domains))


def grouping_test(
    distances: npt.NDArray[np.float64],
    groups: Sequence[str],
    *,
    rng: np.random.Generator | None = None,
) -> GroupingTest:
    """Test whether domains cluster as declared, into as many clusters as there are groups.

    Parameters
    ----------
    distances : ndarray, shape (K, K)
        Symmetric; see `napari_neurobridge.active.domain.symmetrised`.
    groups : sequence of str, length K
        The group of each domain, declared before the distances were seen.
    rng : numpy.random.Generator, optional
        Draws groupings where there are more than `MOST_GROUPINGS`.

    Raises
    ------
    InputError
        If a domain has no group, or there is one group alone, or one for each domain.
    """
    from sklearn.metrics import fowlkes_mallows_score

    tree = dendrogram(distances)
    sizes = sorted(Counter(groups).values())
    if len(groups) != len(distances):
        raise InputError(f"{len(distances)} domains need a group each, not {len(groups)}.")
    if not 1 < len(sizes) < len(groups):
        raise InputError(
            "Declared groups say something only if there are at least two and one of them holds "
            "two domains."
        )
    clusters = cut_dendrogram(tree, len(sizes))
    index = float(fowlkes_mallows_score(groups, clusters))
    count = count_groupings(sizes)
    exact = count <= MOST_GROUPINGS
    tried = groupings(sizes) if exact else _random_groupings(groups, rng)
    # Of groups of the same sizes, the index grows with the pairs that share group and cluster.
    mine, declared = _pairs(clusters), _pairs(_numbered(groups))
    shared = np.array([np.count_nonzero(_pairs(labels) & mine) for labels in tried])
    as_good = int((shared >= np.count_nonzero(declared & mine)).sum())
    p_value = as_good / count if exact else (1 + as_good) / (1 + len(shared))
    floor = 1 / count if exact else 1 / (1 + len(shared))
    return GroupingTest(clusters, index, p_value, floor, count, exact)


def count_groupings(sizes: Sequence[int]) -> int:
    """Return in how many ways items fall into unnamed groups of fixed sizes."""
    alike = prod(factorial(times) for times in Counter(sizes).values())
    return factorial(sum(sizes)) // (prod(factorial(size) for size in sizes) * alike)


def groupings(sizes: Sequence[int]) -> Iterator[Labels]:
    """Yield each way in which items fall into unnamed groups of fixed sizes, as labels."""
    yield from _fill([-1] * sum(sizes), list(sizes), 0)


def _fill(labels: list[int], sizes: list[int], label: int) -> Iterator[Labels]:
    if not sizes:
        yield tuple(labels)
        return
    first, *free = (row for row, own in enumerate(labels) if own < 0)
    # The first item that is left goes into a group of each size: no grouping comes twice.
    for size in set(sizes):
        rest = list(sizes)
        rest.remove(size)
        for others in combinations(free, size - 1):
            filled = list(labels)
            for row in (first, *others):
                filled[row] = label
            yield from _fill(filled, rest, label + 1)


def _random_groupings(groups: Sequence[str], rng: np.random.Generator | None) -> Iterator[Labels]:
    rng = np.random.default_rng(0) if rng is None else rng
    numbers = np.array(_numbered(groups))
    for _ in range(_RANDOM_GROUPINGS):
        yield tuple(rng.permutation(numbers).tolist())


def _pairs(labels: Labels) -> npt.NDArray[np.bool_]:
    """Return which two of K items have one label, (K, K)."""
    own = np.array(labels)
    return np.asarray(own[:, None] == own)


def _numbered(names: Iterable[object]) -> Labels:
    """Return numbers from 0 in place of names, by first appearance."""
    seen: dict[object, int] = {}
    return tuple(seen.setdefault(name, len(seen)) for name in names)
