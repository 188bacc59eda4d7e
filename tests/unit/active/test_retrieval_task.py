"""Retrieval as a task of algorithm 1, against plain loops and whole runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from napari_neurobridge.active.adapt import AdaptParams, adapt, source_distances
from napari_neurobridge.active.retrieval_heads import (
    GroupedPool,
    Retriever,
    retrieval_uncertainty,
)
from napari_neurobridge.active.retrieval_task import (
    NONE,
    RetrievalPool,
    RetrievalTask,
    RetrievalTaskParams,
)
from napari_neurobridge.active.samplers.by_name import SamplerName
from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
from napari_neurobridge.encoder.embed import Encoder, save_model
from napari_neurobridge.encoder.global_channel import GlobalConfig
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.models.fingerprint import fingerprint_arrays
from napari_neurobridge.training.head_views import crop_vectors, head_views

PIXELS = 20
PARAMS = RetrievalTaskParams(passes=4, learning_rate=3e-3)


def _encoder(dropout):
    return EncoderConfig(
        name="tiny",
        crop_pixels=PIXELS,
        dim=32,
        dropout=dropout,
        local_channel=LocalConfig(
            window=12, widths=(4, 8), strides=(2, 2), blocks=(0, 0), readout=4
        ),
        global_channel=GlobalConfig(
            stem_widths=(4,),
            stem_strides=(4,),
            stem_blocks=(0,),
            vit_options={
                "patch_size": 1,
                "embed_dim": 8,
                "depth": 1,
                "num_heads": 2,
                "class_token": False,
                "global_pool": "",
            },
            readout=4,
        ),
    )


def _folder(path, dropout):
    torch.manual_seed(0)
    stored = save_model(DualChannelEncoder(_encoder(dropout)), path)
    encoder = Encoder.load(path)
    crops = _pairs(1)
    sides = {
        "two_photon": encoder.trunk_features(crops.two_photon),
        "fmost": encoder.trunk_features(crops.fmost),
    }
    stored.write_fingerprint(fingerprint_arrays(sides))
    return path


def _pairs(seed, count=16):
    rng = np.random.default_rng(seed)
    own = rng.random((count, PIXELS, PIXELS)).astype(np.float32)
    other = np.clip(own + 0.3 * rng.random(own.shape), 0, 1).astype(np.float32)
    return PairSet(own, other, np.arange(count) // 8)


def _pool():
    """Return 16 queries of two groups; queries 3 and 12 have no partner."""
    pairs = _pairs(2)
    kept = np.setdiff1d(np.arange(16), [3, 12])
    partner = np.full(16, NONE)
    partner[kept] = np.arange(14)
    pool = RetrievalPool(pairs.two_photon, pairs.fmost[kept], pairs.scene, pairs.scene[kept])
    return pool, partner.tolist()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    path = tmp_path_factory.mktemp("sources")
    return {"with": _folder(path / "with", 0.3), "without": _folder(path / "without", 0.0)}


@pytest.fixture(scope="module")
def task(folders):
    return RetrievalTask({"with": folders["with"]}, _pool()[0], _pairs(3), PARAMS)


def test_kept_views_give_the_vectors_of_the_whole_model(folders):
    encoder, crops = Encoder.load(folders["with"]), _pairs(4).fmost
    kept = head_views(encoder.model, crops, mirrored=True)
    with torch.inference_mode():
        vectors = crop_vectors(encoder.model, kept).cpu().numpy()
    np.testing.assert_allclose(vectors, encoder.embed(crops, precision="float32"), atol=1e-5)
    assert kept.views == 8


def test_uncertainty_is_the_entropy_of_the_mean_of_passes(folders):
    pool, _ = _pool()
    retriever = Retriever(Encoder.load(folders["with"]).model, 0)
    with torch.no_grad():
        retriever.none.fill_(0.4)
    views = tuple(head_views(retriever.model, side) for side in (pool.queries, pool.candidates))
    grouped = GroupedPool.of(pool.query_group, pool.candidate_group)
    items = np.array([9, 1, 14, 5])
    found = retrieval_uncertainty(
        retriever, views, grouped, items, temperature=0.1, passes=3, seed=11
    )
    heads = (retriever.model.local_channel.head, retriever.model.global_channel.head)
    for number, members in enumerate(([1, 5], [9, 14])):
        rows = [i for i in items.tolist() if i in members]
        torch.manual_seed(11 + 7919 * number)
        for head in heads:
            head.train()
        own = pool.candidates_of(rows[0])
        total = np.zeros((len(rows), len(own) + 1))
        for _ in range(3):
            with torch.no_grad():
                queries = crop_vectors(retriever.model, views[0].take(torch.tensor(rows))).numpy()
                others = crop_vectors(retriever.model, views[1].take(torch.from_numpy(own)))
            for i, query in enumerate(queries):
                logits = [*(float(query @ other) for other in others.numpy()), 0.4]
                weights = np.exp(np.array(logits) / 0.1)
                total[i] += weights / weights.sum()
        for head in heads:
            head.eval()
        places = [items.tolist().index(row) for row in rows]
        np.testing.assert_allclose(found[places], entropy(total / 3, axis=1), rtol=1e-4)


def test_only_samplers_that_read_uncertainty_need_dropout(folders):
    task = RetrievalTask({"without": folders["without"]}, _pool()[0], _pairs(3), PARAMS)
    weights, items = task.start("without"), np.arange(16)
    for sampler in (SamplerName.RANDOM, SamplerName.BADGE):
        assert len(task.pool(weights, items, sampler, seed=0)) == 16
    for sampler in (SamplerName.MIN, SamplerName.MEDIAN, SamplerName.MAX, SamplerName.CLUE):
        with pytest.raises(InputError, match="no dropout layer"):
            task.pool(weights, items, sampler, seed=0)


def test_labels_make_partners_and_none_more_probable(task):
    _, partner = _pool()
    weights = task.start("with")
    labels = {query: partner[query] for query in (0, 1, 2, 3, 9, 12)}
    trained = task.train(weights, labels, 150, seed=1)

    def probability(of):
        found = []
        for query, answer in labels.items():
            own = task._pool.candidates_of(query)
            place = len(own) if answer == NONE else own.tolist().index(answer)
            found.append(task.probabilities(of, query)[place])
        return np.mean(found)

    assert probability(trained) > 1.3 * probability(weights)
    assert all(torch.equal(weights[key], value) for key, value in task.start("with").items())


def test_training_that_was_stopped_ends_with_the_same_bits(task, tmp_path):
    _, partner = _pool()
    labels = {query: partner[query] for query in range(8)}
    weights = task.start("with")
    straight = task.train(weights, labels, 60, seed=3)

    def stop(done, total, text):
        if done >= 50:
            raise KeyboardInterrupt

    checkpoint = tmp_path / "training.safetensors"
    with pytest.raises(KeyboardInterrupt):
        task.train(weights, labels, 60, seed=3, checkpoint=checkpoint, report=stop)
    again = task.train(weights, labels, 60, seed=3, checkpoint=checkpoint)
    assert all(torch.equal(straight[key], again[key]) for key in straight)


@pytest.mark.parametrize("sampler", SamplerName)
def test_algorithm_1_runs_by_every_sampler(task, sampler):
    _, partner = _pool()
    params = AdaptParams(labels=4, steps=6, rounds=2, sampler=sampler, seed=5)
    runs = [adapt(task, "with", lambda i: [partner[j] for j in i], params) for _ in range(2)]
    assert [point.labels for point in runs[0].curve] == [0, 2, 4]
    assert runs[0].curve == runs[1].curve
    assert 0 <= runs[0].curve[-1].figures["top1"] <= 1


def test_the_nearest_source_is_found_by_both_sides(task):
    found = source_distances(task, ["with"])
    assert set(found["with"].sides) == {"two_photon", "fmost"}


def test_bad_input_is_refused(task, folders):
    weights = task.start("with")
    with pytest.raises(InputError, match="no label to learn from"):
        task.train(weights, {}, 3, seed=0)
    with pytest.raises(InputError, match="none of its candidates"):
        task.train(weights, {0: 13}, 3, seed=0)
    with pytest.raises(InputError, match="starts from a source"):
        task.start(None)
    with pytest.raises(InputError, match="no source 'other'"):
        task.start("other")
    with pytest.raises(InputError, match="no source to start from"):
        RetrievalTask({}, _pool()[0], _pairs(3))
    pool = _pool()[0]
    with pytest.raises(InputError, match="has no candidate"):
        RetrievalPool(pool.queries, pool.candidates, pool.query_group + 9, pool.candidate_group)
    with pytest.raises(InputError, match="crop and a group"):
        RetrievalPool(pool.queries[1:], pool.candidates, pool.query_group, pool.candidate_group)
