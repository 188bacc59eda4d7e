"""Dendrograms against average linkage by hand, indices and tests against counting."""

import itertools
import math

import numpy as np
import pytest

from napari_neurobridge.active import domain_groups
from napari_neurobridge.active.domain_groups import (
    count_groupings,
    cut_dendrogram,
    dendrogram,
    grouping_test,
    groupings,
)
from napari_neurobridge.errors import InputError

PHYLA = ("nematode", "nematode", "chordate", "chordate", "chordate", "arthropod")
SPECIES = ("elegans", "elegans", "mouse", "mouse", "human", "fly")


def drawn_distances(count: int, seed: int) -> np.ndarray:
    matrix = np.random.default_rng(seed).uniform(0.1, 1, (count, count))
    return (matrix + matrix.T) * (1 - np.eye(count))


def distances_of(groups: tuple[str, ...]) -> np.ndarray:
    """Near within a group, far between."""
    far = np.array([[a != b for a in groups] for b in groups], dtype=float)
    return 0.1 * drawn_distances(len(groups), 0) + far


def merged_by_hand(distances: np.ndarray, count: int) -> set[frozenset[int]]:
    """Average linkage: join the two clusters whose members are nearest on average."""
    clusters = [frozenset([row]) for row in range(len(distances))]
    while len(clusters) > count:
        pairs = list(itertools.combinations(clusters, 2))
        nearest = min(pairs, key=lambda p: np.mean([distances[i, j] for i in p[0] for j in p[1]]))
        clusters = [c for c in clusters if c not in nearest] + [nearest[0] | nearest[1]]
    return set(clusters)


def as_sets(labels) -> set[frozenset[int]]:
    return {
        frozenset(row for row, own in enumerate(labels) if own == label) for label in set(labels)
    }


def index_by_hand(first, second) -> float:
    """Fowlkes and Mallows (1983): shared pairs over the geometric mean of the pairs of each."""
    pairs = list(itertools.combinations(range(len(first)), 2))
    one = [first[i] == first[j] for i, j in pairs]
    two = [second[i] == second[j] for i, j in pairs]
    both = sum(a and b for a, b in zip(one, two, strict=True))
    return both / math.sqrt(sum(one) * sum(two)) if both else 0.0


@pytest.mark.parametrize("seed", range(5))
def test_clusters_are_those_of_average_linkage(seed):
    distances = drawn_distances(8, seed)
    tree = dendrogram(distances)
    for count in range(1, 9):
        labels = cut_dendrogram(tree, count)
        assert as_sets(labels) == merged_by_hand(distances, count)
        assert sorted(set(labels), key=labels.index) == list(range(count))


def test_ties_still_give_as_many_clusters_as_asked():
    tree = dendrogram(1 - np.eye(6))
    assert [len(set(cut_dendrogram(tree, count))) for count in range(1, 7)] == [1, 2, 3, 4, 5, 6]


def test_a_distance_below_zero_is_none():
    distances = distances_of(PHYLA)
    distances[0, 1] = distances[1, 0] = -0.003
    assert dendrogram(distances)[0].tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("sizes", [(2, 3, 1), (2, 2, 1, 1), (2, 2), (1, 1, 2), (3, 3), (4,)])
def test_every_grouping_comes_once(sizes):
    found = [frozenset(as_sets(labels)) for labels in groupings(sizes)]
    named = [group for group, size in enumerate(sizes) for _ in range(size)]
    expected = {frozenset(as_sets(order)) for order in itertools.permutations(named)}
    assert len(found) == len(set(found)) == count_groupings(sizes)
    assert set(found) == expected


@pytest.mark.parametrize(
    ("groups", "floor"),
    [
        (PHYLA, 1 / 60),  # six domains in groups of 2, 3 and 1
        (SPECIES, 1 / 45),
        (("a", "a", "b", "c"), 1 / 6),  # four domains
        (("a", "a", "b", "b"), 1 / 3),
    ],
)
def test_perfect_agreement_reaches_the_floor_and_no_less(groups, floor):
    found = grouping_test(distances_of(groups), groups)
    assert found.index == pytest.approx(1)
    assert found.p_value == found.floor == pytest.approx(floor)
    assert found.exact
    assert found.n_groupings == round(1 / floor)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("groups", [PHYLA, SPECIES])
def test_the_p_value_counts_all_permutations_of_the_groups(seed, groups):
    distances = drawn_distances(6, seed)
    found = grouping_test(distances, groups)
    assert as_sets(found.clusters) == merged_by_hand(distances, len(set(groups)))
    assert found.index == pytest.approx(index_by_hand(groups, found.clusters))
    scores = [index_by_hand(order, found.clusters) for order in itertools.permutations(groups)]
    expected = np.mean(np.array(scores) >= found.index - 1e-12)
    assert found.p_value == pytest.approx(expected)


def test_of_too_many_groupings_random_ones_are_tried(monkeypatch):
    groups, distances = SPECIES, drawn_distances(6, 3)
    exact = grouping_test(distances, groups)
    monkeypatch.setattr(domain_groups, "MOST_GROUPINGS", 10)
    monkeypatch.setattr(domain_groups, "_RANDOM_GROUPINGS", 999)
    found = grouping_test(distances, groups, rng=np.random.default_rng(1))
    assert (found.exact, found.n_groupings, found.floor) == (False, 45, 1 / 1000)
    deviation = math.sqrt(exact.p_value * (1 - exact.p_value) / 999)
    assert abs(found.p_value - exact.p_value) < 4 * deviation + 1 / 1000
    assert found == grouping_test(distances, groups, rng=np.random.default_rng(1))


@pytest.mark.parametrize(
    ("distances", "groups", "words"),
    [
        (drawn_distances(4, 0), ("a", "a", "b"), "4 domains need a group each, not 3"),
        (drawn_distances(3, 0), ("a", "a", "a"), "at least two and one of them"),
        (drawn_distances(3, 0), ("a", "b", "c"), "at least two and one of them"),
        (np.triu(drawn_distances(3, 0)), ("a", "b", "b"), "needs a symmetric matrix"),
        (np.zeros((1, 1)), ("a",), "at least two domains"),
    ],
)
def test_what_says_nothing_is_refused(distances, groups, words):
    with pytest.raises(InputError, match=words):
        grouping_test(distances, groups)
