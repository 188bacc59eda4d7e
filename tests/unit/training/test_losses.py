import math
from collections import deque

import pytest
import torch
from torch.nn import functional

from napari_neurobridge.training.losses import (
    CircleObjective,
    CrossModalCircle,
    Memory,
    TripletObjective,
    info_nce,
)

GAMMA, MARGIN, EPSILON = 256.0, 0.25, 0.1


def unit_vectors(n, dim, seed, spread):
    """Pairs of vectors around common directions: similar enough for mining to matter."""
    generator = torch.Generator().manual_seed(seed)
    center = torch.randn(n, dim, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, n, dim, generator=generator, dtype=torch.float64)
    return functional.normalize(center + spread * noise, dim=-1).unbind(0)


def mined(similarity, labels):
    """Multi-similarity mining (Wang et al. 2019, section 4.1), by plain loops."""
    n = len(labels)
    positives, negatives = set(), set()
    for i in range(n):
        own = [similarity[i][j] for j in range(n) if j != i and labels[j] == labels[i]]
        other = [similarity[i][j] for j in range(n) if labels[j] != labels[i]]
        for j in range(n):
            if j == i:
                continue
            if labels[j] == labels[i] and similarity[i][j] - EPSILON < max(other):
                positives.add((i, j))
            if labels[j] != labels[i] and similarity[i][j] + EPSILON > min(own):
                negatives.add((i, j))
    return positives, negatives


def log_sum_exp(values):
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))


def circle(similarity, positives, negatives):
    """Circle loss (Sun et al. 2020, equation 6) averaged over anchors with a loss."""
    losses = []
    for i in range(len(similarity)):
        p = [similarity[i][j] for a, j in positives if a == i]
        n = [similarity[i][j] for a, j in negatives if a == i]
        if not p or not n:
            continue
        pull = [-GAMMA * max(0, 1 + MARGIN - s) * (s - (1 - MARGIN)) for s in p]
        push = [GAMMA * max(0, s + MARGIN) * (s - MARGIN) for s in n]
        exponent = log_sum_exp(pull) + log_sum_exp(push)
        losses.append(max(exponent, 0) + math.log1p(math.exp(-abs(exponent))))
    losses = [loss for loss in losses if loss > 0]
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("mine", [True, False])
@pytest.mark.parametrize("spread", [0.2, 0.6, 1.5])
def test_circle_objective_is_the_published_loss_on_the_mined_pairs(mine, spread):
    a, b = unit_vectors(6, 5, seed=1, spread=spread)
    vectors = torch.cat((a, b))
    similarity = (vectors @ vectors.T).tolist()
    labels = [*range(6), *range(6)]
    if mine:
        positives, negatives = mined(similarity, labels)
    else:
        pairs = [(i, j) for i in range(12) for j in range(12) if i != j]
        positives = {(i, j) for i, j in pairs if labels[i] == labels[j]}
        negatives = {(i, j) for i, j in pairs if labels[i] != labels[j]}
    expected = circle(similarity, positives, negatives)
    loss = CircleObjective(gamma=GAMMA, margin=MARGIN, epsilon=EPSILON, mine=mine)(a, b)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_the_papers_constants_are_set_not_the_librarys():
    objective = CircleObjective()
    assert (objective.loss.gamma, objective.loss.m) == (256.0, 0.25)


def test_circle_gradient_pulls_partners_together():
    a, b = unit_vectors(6, 5, seed=2, spread=1.0)
    a.requires_grad_()
    CircleObjective()(a, b).backward()
    moved = functional.normalize(a.detach() - 1e-4 * a.grad, dim=-1)
    assert (moved * b).sum() > (a.detach() * b).sum()


def test_triplet_objective_is_the_hinge_of_distances_over_the_mined_pairs():
    a, b = unit_vectors(6, 5, seed=1, spread=0.6)
    vectors = torch.cat((a, b))
    distance = torch.cdist(vectors, vectors).tolist()
    positives, negatives = mined((vectors @ vectors.T).tolist(), [*range(6), *range(6)])
    hinges = [
        distance[i][p] - distance[i][n] + 0.2 for i, p in positives for j, n in negatives if i == j
    ]
    expected = [hinge for hinge in hinges if hinge > 0]
    assert float(TripletObjective()(a, b)) == pytest.approx(sum(expected) / len(expected))


def test_info_nce_is_the_mean_of_both_cross_entropies():
    a, b = unit_vectors(5, 4, seed=3, spread=0.7)
    logits = (a @ b.T / 0.1).tolist()
    columns = list(zip(*logits, strict=True))
    rows = [log_sum_exp(logits[i]) - logits[i][i] for i in range(5)]
    cols = [log_sum_exp(columns[i]) - columns[i][i] for i in range(5)]
    expected = (sum(rows) + sum(cols)) / 10
    assert float(info_nce(a, b, temperature=0.1)) == pytest.approx(expected)


def across(anchors, others, past, same):
    """Losses of anchors whose partner has the same row, by plain loops; 0 for those without."""
    found = []
    for i, anchor in enumerate(anchors):
        partner = float(anchor @ others[i])
        wrong = [float(anchor @ other) for j, other in enumerate(others) if j != i]
        wrong += [float(anchor @ v) for j, v in enumerate(past) if not same[i][j]]
        hard = [s for s in wrong if s + EPSILON > partner]
        if not hard or partner - EPSILON >= max(wrong):
            continue
        pull = -GAMMA * max(0, 1 + MARGIN - partner) * (partner - (1 - MARGIN))
        push = [GAMMA * max(0, s + MARGIN) * (s - MARGIN) for s in hard]
        exponent = pull + log_sum_exp(push)
        found.append(max(exponent, 0) + math.log1p(math.exp(-abs(exponent))))
    return found


def remembered(size=6, dim=5):
    """A memory of six neurons, of which 2 and 3 are in the batch too."""
    memory = Memory(size, dim).double()
    a, b = unit_vectors(size, dim, seed=9, spread=0.6)
    memory.add(a, b, torch.tensor([2, 3, 20, 21, 22, 23]))
    return memory


@pytest.mark.parametrize("with_memory", [False, True])
@pytest.mark.parametrize("spread", [0.2, 0.6, 1.5])
def test_circle_across_sides_is_the_published_loss_of_either_direction(spread, with_memory):
    a, b = unit_vectors(6, 5, seed=1, spread=spread)
    neurons, memory = torch.arange(6), remembered() if with_memory else None
    past = ([], []) if memory is None else (list(memory.two_photon), list(memory.fmost))
    same = [[i == j for j in (2, 3, 20, 21, 22, 23)] for i in range(6)]
    found = across(a, b, past[1], same) + across(b, a, past[0], same)
    positive = [loss for loss in found if loss > 0]
    expected = sum(positive) / max(1, len(positive))
    loss = CrossModalCircle(gamma=GAMMA, margin=MARGIN, epsilon=EPSILON)(a, b, neurons, memory)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_circle_across_sides_has_no_gradient_where_all_is_told_apart():
    a, b = torch.eye(4, dtype=torch.float64).unsqueeze(0).repeat(2, 1, 1).unbind(0)
    a = a.clone().requires_grad_()
    loss = CrossModalCircle()(a, b)
    loss.backward()
    assert float(loss.detach()) == 0
    assert (a.grad == 0).all()


def test_memory_is_a_ring_of_the_last_pairs_and_comes_back_from_its_state():
    memory, oracle = Memory(5, 3), deque(maxlen=5)
    generator = torch.Generator().manual_seed(0)
    for start in range(0, 12, 3):
        a, b = torch.rand(2, 3, 3, generator=generator)
        memory.add(a, b, torch.arange(start, start + 3))
        oracle.extend(zip(range(start, start + 3), a.tolist(), b.tolist(), strict=True))
        two_photon, fmost, neurons = memory.recall()
        rows = zip(neurons.tolist(), two_photon.tolist(), fmost.tolist(), strict=True)
        assert sorted(rows) == sorted(oracle)
    again = Memory(5, 3)
    again.load_state_dict(memory.state_dict())
    assert torch.equal(again.recall()[0], memory.recall()[0])
    nothing = Memory(0, 3)
    nothing.add(a, b, torch.arange(3))
    assert len(nothing.recall()[0]) == 0


def test_info_nce_with_a_memory_asks_among_it_too_but_not_for_the_same_neuron():
    a, b = unit_vectors(6, 5, seed=3, spread=0.7)
    memory = remembered()
    expected = []
    for own, other, past in ((a, b, memory.fmost), (b, a, memory.two_photon)):
        for i in range(6):
            kept = [past[j] for j, name in enumerate((2, 3, 20, 21, 22, 23)) if name != i]
            logits = [float(own[i] @ v) / 0.1 for v in [*other, *kept]]
            expected.append(log_sum_exp(logits) - logits[i])
    loss = info_nce(a, b, temperature=0.1, neurons=torch.arange(6), memory=memory)
    assert float(loss) == pytest.approx(sum(expected) / 12)
