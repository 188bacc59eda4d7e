"""Who is paired and who is not where partners are missing."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.training.missing_partners import MutualClaims, judge_missing, mutual_claims


def likeness(n, gain, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, (n, n)) + gain * np.eye(n)


def brute_force_claims(similarity, scene, temperature, share, draws, seed):
    rng = np.random.default_rng(seed)
    claims, pairs, orphans = [], 0, 0
    for _ in range(draws):
        for name in sorted(set(scene)):
            own = [i for i in range(len(scene)) if scene[i] == name]
            n_lost = round(share * len(own) / (1 + share))
            order = [own[i] for i in rng.permutation(len(own))]
            asked = [i for i in own if i not in order[:n_lost]]
            lost = order[n_lost : 2 * n_lost]
            there = [i for i in own if i not in lost]
            weight = {(q, c): np.exp(similarity[q, c] / temperature) for q in asked for c in there}
            mutual = {
                (q, c): np.log(w / sum(weight[q, d] for d in there)) / 2
                + np.log(w / sum(weight[p, c] for p in asked)) / 2
                for (q, c), w in weight.items()
            }
            for q in asked:
                best = max(there, key=lambda c, q=q: mutual[q, c])
                if max(asked, key=lambda p, c=best: mutual[p, c]) == q:
                    claims.append((mutual[q, best], best == q, q in lost))
            pairs, orphans = pairs + len(own) - 2 * n_lost, orphans + n_lost
    return sorted(claims), pairs, orphans


def test_claims_are_those_of_brute_force():
    scene = np.repeat([4, 9], [9, 7])
    similarity = likeness(16, 0.2)
    options = {"share": 0.3, "draws": 3, "seed": (5, 1)}
    claims = mutual_claims(similarity, scene, 0.1, **options)
    expected, pairs, orphans = brute_force_claims(similarity, scene, 0.1, **options)
    found = sorted(zip(claims.score, claims.right, claims.orphan, strict=True))
    assert (claims.n_pairs, claims.n_orphans) == (pairs, orphans) == (3 * 8, 3 * 4)
    assert len(found) == len(expected)
    for own, other in zip(found, expected, strict=True):
        assert own[0] == pytest.approx(other[0])
        assert own[1:] == other[1:]


def test_the_threshold_has_the_highest_f1_of_all():
    rng = np.random.default_rng(2)
    score = np.round(rng.normal(size=40), 1)
    claims = MutualClaims(score, rng.random(40) < 0.4 + 0.2 * score, np.zeros(40, bool), 30, 10)
    threshold, f1 = claims.best_threshold()

    def f1_of(cut):
        kept = score >= cut
        return 2 * (kept & claims.right).sum() / (kept.sum() + 30)

    assert f1_of(threshold) == pytest.approx(f1)
    assert f1 == pytest.approx(max(f1_of(cut) for cut in score))


def test_clear_partners_are_found_and_orphans_go_to_none():
    parts = [(likeness(n, 1.0, n), np.zeros(n, int)) for n in (20, 40)]
    found = judge_missing(*parts)
    assert (found.precision, found.recall, found.none) == (1.0, 1.0, 1.0)
    # Without a threshold the orphans would be given somebody.
    claims = mutual_claims(*parts[1], 0.03, share=0.3, draws=20, seed=(0, 1))
    assert claims.judged(-np.inf, 0.03).none < 1.0


def test_noise_finds_nobody_and_nothing_missing_leaves_no_orphan():
    noise = [(likeness(n, 0.0, n), np.zeros(n, int)) for n in (30, 53)]
    found = judge_missing(*noise)
    assert found.recall < 0.2
    assert (found.precision or 0.0) < 0.3
    whole = judge_missing(*noise, share=0.0)
    assert whole.none is None


def test_where_nothing_is_claimed_there_is_no_precision():
    empty = MutualClaims(np.zeros(0), np.zeros(0, bool), np.zeros(0, bool), 4, 2)
    assert empty.best_threshold() == (0.0, 0.0)
    found = empty.judged(0.0, 0.03)
    assert (found.precision, found.recall, found.none) == (None, 0.0, 1.0)
