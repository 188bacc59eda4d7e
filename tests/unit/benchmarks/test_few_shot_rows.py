"""Rows of the few-shot table that start from a model which never saw the domain, or adapt it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_neurobridge.benchmarks import few_shot, few_shot_adapters, retrieval
from napari_neurobridge.benchmarks.few_shot import (
    CONFIGURATIONS,
    FULL_METHOD,
    LEARNING_RATES,
    AdapterConfiguration,
    Bench,
    PlainConfiguration,
)
from napari_neurobridge.benchmarks.few_shot_adapters import Adapter
from napari_neurobridge.benchmarks.few_shot_data import few_shot_split
from napari_neurobridge.benchmarks.retrieval import RetrievalParameters
from napari_neurobridge.encoder.dual_channel import DualChannelEncoder
from napari_neurobridge.encoder.embed import Encoder, save_model
from napari_neurobridge.encoder.strategies import Ablation, Strategy
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.training.closed_form import ridge_map
from napari_neurobridge.training.fine_tune import FineTuneReport
from napari_neurobridge.training.left_out import left_out_task
from napari_neurobridge.training.normalisation import with_statistics_of
from napari_neurobridge.training.plain_measures import PlainMeasure, PoseRange


def small_sides(n, seed, pixels=150):
    """Return pairs whose sides share blurred spots, brighter on one side."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((n, 10, 10)).astype(np.float32)
    cells = coarse.repeat(pixels // 10, axis=1).repeat(pixels // 10, axis=2)
    two_photon, fmost = (
        np.clip(gain * cells + rng.normal(0, 0.02, cells.shape), 0, 1).astype(np.float32)
        for gain in (0.5, 0.9)
    )
    return PairSet(two_photon, fmost, np.zeros(n, int))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Save an untrained model of the kind that is left without a domain."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sources") / "without-domain-C"
    folder.mkdir()
    save_model(DualChannelEncoder(left_out_task("domain-C", depth=5).encoder), folder)
    return folder


@pytest.fixture
def small_data():
    return few_shot_split(0, *(small_sides(n, n, 50) for n in (16, 6, 8)))


def test_a_left_out_domain_is_tested_from_a_deep_source_in_its_own_crops(
    source, monkeypatch, tmp_path
):
    asked = []

    def make(config, folder, *, pairs, report=None):
        asked.append((config, folder, pairs))
        return source

    def data(split, level, folder, *, training, report=None):
        assert training
        asked.append(level)
        return few_shot_split(split, *(small_sides(n, n + split) for n in (16, 6, 8)))

    monkeypatch.setattr(retrieval, "left_out_source", make)
    monkeypatch.setattr(retrieval, "few_shot_data", data)
    result = retrieval.run(
        RetrievalParameters(
            left_out="domain-C",
            adapters=True,
            measures=False,
            splits=1,
            configurations=("zero-shot",),
            cache=tmp_path,
        )
    )
    config, *folders = asked[0]
    assert config.held_out_level == "domain-C"
    assert config.encoder.global_channel.vit_options["depth"] > 4
    assert folders == [tmp_path / "models", tmp_path / "pairs"]
    assert asked[1:] == ["domain-C"]
    assert (result.level, result.n_queries) == ("domain-C", 8)
    assert [row.method for row in result.results] == ["zero-shot", *Adapter]
    for row in result.results:
        assert {"own_recall", "own_specificity", "mutual_own_recall"} < set(row.figures)
        assert 0 <= row.figures["missing_precision"].mean <= 1
    # A level does not matter where a domain is left out.
    with pytest.raises(InputError, match="no domain 'paper'"):
        retrieval.run(RetrievalParameters(left_out="paper"))


def test_adapters_say_what_their_parts_say_and_leave_the_model(source, small_data, tmp_path):
    encoder = Encoder.load(source)
    before = {key: value.clone() for key, value in encoder.model.state_dict().items()}
    bench = Bench(encoder, encoder.config, tmp_path)
    found = {
        adapter: bench.compare(
            AdapterConfiguration(adapter=adapter), small_data, "domain-C", lambda *_: None
        )
        for adapter in Adapter
    }
    for compared in found.values():
        assert (compared.validation.shape, compared.test.shape) == ((6, 6), (8, 8))
        assert np.abs(compared.test).max() <= 1 + 1e-5
        assert compared.steps == 0
    assert all(torch.equal(value, before[k]) for k, value in encoder.model.state_dict().items())
    tests = [compared.test for compared in found.values()]
    assert all(np.abs(a - b).max() > 1e-3 for a, b in itertools.pairwise(tests))

    own = [
        Encoder(with_statistics_of(encoder.model, [side]), "").embed(test)
        for side, test in (
            (small_data.train.two_photon, small_data.test.two_photon),
            (small_data.train.fmost, small_data.test.fmost),
        )
    ]
    per_side = found[Adapter.STATISTICS_PER_SIDE].test
    np.testing.assert_allclose(per_side, own[0] @ own[1].T, atol=1e-5)


def test_only_the_ridge_map_is_told_who_is_whose_partner(source, small_data, monkeypatch, tmp_path):
    # One that changes much; the best on validation pairs may change next to nothing.
    monkeypatch.setattr(few_shot_adapters, "best_ridge_map", lambda own, *_: ridge_map(*own, 0.1))
    encoder = Encoder.load(source)
    train = small_data.train
    shuffled = PairSet(train.two_photon, np.roll(train.fmost, 1, axis=0), train.scene)
    other = few_shot_split(0, shuffled, small_data.validation, small_data.test)
    changed = set()
    for adapter in Adapter:
        parts = [
            Bench(encoder, encoder.config, tmp_path / name).compare(
                AdapterConfiguration(adapter=adapter), data, "domain-C", lambda *_: None
            )
            for name, data in (("right", small_data), ("wrong", other))
        ]
        if np.abs(parts[0].test - parts[1].test).max() > 1e-4:
            changed.add(adapter)
    assert changed == {Adapter.RIDGE}


def test_full_changes_both_channels_as_the_other_strategies_do():
    full, alone = CONFIGURATIONS["full"], CONFIGURATIONS["global-only"]
    assert full != alone
    assert full.strategy is Strategy.FULL
    for name in ("linear", "partial", "lora-4", "lora-8", "lora-16", "full", FULL_METHOD):
        assert CONFIGURATIONS[name].ablation not in (Ablation.LOCAL_ONLY, Ablation.GLOBAL_ONLY)
    # What the paper's method has beside: it mines.
    assert full == CONFIGURATIONS["no-miner"]
    assert CONFIGURATIONS[FULL_METHOD].ablation is Ablation.NONE


def test_a_sweep_keeps_the_rate_that_does_best_on_validation_pairs(
    source, small_data, monkeypatch, tmp_path
):
    asked = []

    def tune(model, train, validation, config, *, checkpoint=None):
        asked.append((config.strategy, config.learning_rate, checkpoint.name))
        checkpoint.write_text("half way")
        # Best at the last but one; the last makes the vectors useless.
        score = {1e-4: 0.2, 3e-4: 0.3}.get(config.learning_rate, 0.1)
        if config.learning_rate != 3e-4:
            for parameter in model.parameters():
                parameter.data.zero_()
        yield FineTuneReport("done", 2, 2, 0.5, None, score, 1, 1.0, 0.0)

    monkeypatch.setattr(few_shot, "fine_tune", tune)
    encoder = Encoder.load(source)
    bench = Bench(encoder, encoder.config, tmp_path, sweep=True)
    said = []

    def compare(name):
        return bench.compare(
            CONFIGURATIONS[name], small_data, "domain-C", lambda *s: said.append(s)
        )

    linear, zero_shot = compare("linear"), compare("zero-shot")
    assert [rate for _, rate, _ in asked] == list(LEARNING_RATES)
    assert len({name for *_, name in asked}) == 3
    assert (linear.learning_rate, zero_shot.learning_rate) == (3e-4, None)
    plain = encoder.embed(small_data.test.two_photon) @ encoder.embed(small_data.test.fmost).T
    np.testing.assert_allclose(linear.test, plain, atol=1e-6)
    assert said == [(2, 6, "done"), (4, 6, "done"), (6, 6, "done")]
    assert not list(tmp_path.glob("*.checkpoint"))
    # Read back with its rate; without a sweep it is another result.
    assert compare("linear").learning_rate == 3e-4
    assert len(asked) == 3
    again = Bench(encoder, encoder.config, tmp_path)
    again.compare(CONFIGURATIONS["linear"], small_data, "domain-C", lambda *_: None)
    assert asked[3][:2] == (Strategy.LINEAR, 1e-4)
    # Later splits learn by the rate that the first one chose.
    second = replace(small_data, split=1)
    for rate in (3e-4, None):
        linear = CONFIGURATIONS["linear"]
        bench.compare(linear, second, "domain-C", lambda *_: None, rate=rate)
    assert [rate for _, rate, _ in asked[4:]] == [3e-4, 1e-4]


@pytest.mark.parametrize(("depth", "noted"), [(2, 1), (5, 0)])
def test_a_shallow_trunk_is_said_of_partial(depth, noted, monkeypatch, small_data):
    monkeypatch.setattr(retrieval, "few_shot_data", lambda *a, **k: small_data)
    monkeypatch.setattr(Bench, "_tuned", lambda self, *a: (self.encoder.model, 0, None))
    model = Encoder(DualChannelEncoder(left_out_task("domain-C", depth=depth).encoder), "0" * 12)
    result = retrieval.benchmark_retrieval(
        model, retrieval.RetrievalRequest(configurations=("partial",), measures=(), splits=1)
    )
    assert len(result.notes) == noted
    assert all(f"all {depth} blocks" in note for note in result.notes)
    assert result.summary() == "\n".join([result.markdown, *result.notes])


def test_plain_measures_search_as_far_in_smaller_crops(small_data, monkeypatch, tmp_path):
    asked = []

    def similarity(measure, two_photon, fmost, *, search, report):
        asked.append((search, float(two_photon.mean()), float(fmost[0].std())))
        return np.zeros((len(two_photon), len(fmost)), np.float32)

    monkeypatch.setattr(few_shot, "plain_similarity", similarity)
    bench = Bench(None, None, tmp_path)
    for band in (False, True):
        method = PlainConfiguration(measure=PlainMeasure.MSE, band_passed=band)
        bench.compare(method, small_data, "domain-C", lambda *_: None)
    search = asked[0][0]
    assert search.max_shift_px == pytest.approx(5 / 3)
    assert search.shift_step_px == pytest.approx(2.5 / 3)
    assert len(search.poses()) == len(PoseRange().poses())
    raw, band = asked[0], asked[2]
    assert raw[1] > 0.1
    assert band[1] == pytest.approx(0, abs=1e-4)
    assert band[2] == pytest.approx(1, abs=1e-3)
