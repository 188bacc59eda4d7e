"""How labels are counted, and what the pools hold."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.active.retrieval_task import NONE
from napari_neurobridge.active.samplers.by_name import SamplerName
from napari_neurobridge.benchmarks import adaptation_retrieval
from napari_neurobridge.benchmarks.adaptation_retrieval import (
    AdaptationRetrievalParameters,
    benchmark_adaptation_retrieval,
    labels_needed,
    pool_of,
)
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.pairs import PairSet


def test_labels_are_read_between_the_points():
    labels, curve = [0, 8, 16, 64], np.array([0.1, 0.2, 0.4, 0.3])
    assert labels_needed(labels, curve, 0.3) == pytest.approx(12)
    assert labels_needed(labels, curve, 0.05) == 0
    assert labels_needed(labels, curve, 0.41) is None


def test_a_pool_loses_partners_but_no_query():
    crops = np.random.default_rng(0).random((10, 6, 6)).astype(np.float32)
    pairs = PairSet(crops, crops + 1, np.arange(10) // 5)
    pool, partner = pool_of(pairs, 0.3, seed=1)
    assert (len(pool), len(pool.candidates), partner.count(NONE)) == (10, 7, 3)
    for query, row in enumerate(partner):
        if row != NONE:
            np.testing.assert_array_equal(pool.candidates[row], crops[query] + 1)
            assert row in pool.candidates_of(query)


def test_needed_labels_are_relative_to_random_sampling(monkeypatch, tmp_path):
    def curve(self, domain, sampler, seed):
        slope = {"random": 1, "max": 2, "min": 0.5}[sampler.value]
        shift = 0.01 * seed
        return [
            {"labels": float(n), "top1": 0.2 + shift + 0.004 * slope * n, "mrr": 0.5}
            for n in (0, 16, 32, 48, 64)
        ]

    monkeypatch.setattr(adaptation_retrieval._Runs, "curve", curve)
    found = benchmark_adaptation_retrieval(
        AdaptationRetrievalParameters(cache=tmp_path, domains=("domain-C",)),
        samplers=(SamplerName.RANDOM, SamplerName.MAX, SamplerName.MIN),
    )
    needed = {(n.sampler, n.figure): n for n in found.needed}
    assert needed[SamplerName.MAX, "top1"].ratio == pytest.approx(0.5)
    assert needed[SamplerName.MAX, "top1"].interval == pytest.approx((0.5, 0.5))
    assert needed[SamplerName.MAX, "top1"].gain == pytest.approx(0.256)
    assert needed[SamplerName.MIN, "top1"].ratio is None
    # Where random sampling gains nothing, there is nothing to reach.
    assert needed[SamplerName.MAX, "mrr"].ratio is None
    assert "not reached" in found.summary()


def test_random_sampling_is_needed():
    with pytest.raises(InputError, match="compared with random sampling"):
        benchmark_adaptation_retrieval(AdaptationRetrievalParameters(), samplers=(SamplerName.MAX,))
