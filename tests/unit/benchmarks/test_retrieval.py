import json
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_neurobridge.benchmarks import few_shot, few_shot_data, retrieval
from napari_neurobridge.benchmarks.few_shot import CONFIGURATIONS, Bench, PlainConfiguration
from napari_neurobridge.benchmarks.few_shot_data import few_shot_split
from napari_neurobridge.benchmarks.retrieval import RetrievalRequest, benchmark_retrieval
from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.encoder.strategies import Ablation, Strategy
from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.training.fine_tune import FineTuneReport
from napari_neurobridge.training.plain_measures import PlainMeasure, PoseRange

BUNDLED = Path(__file__).parents[3] / "models" / "compact"
STILL = PoseRange(max_angle_deg=0, max_shift_px=0)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def toy_pairs(n, seed):
    """Return cells whose sides are alike but for noise, and lie in a row 10 µm apart."""
    rng = np.random.default_rng(seed)
    cells = rng.random((n, 48, 48), dtype=np.float32)
    two_photon, fmost = (
        np.clip(cells + rng.normal(0, 0.4, cells.shape), 0, 1).astype(np.float32) for _ in "ab"
    )
    center_um = np.arange(n)[:, None] * np.array([[0.0, 0.0, 10.0]])
    return PairSet(two_photon, fmost, np.zeros(n, int), center_um)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    local = LocalConfig(window=32, widths=(4, 8), strides=(2, 2), blocks=(0, 1), readout=4)
    config = EncoderConfig(
        name="tiny", crop_pixels=48, dim=16, views=1, channels="local", local_channel=local
    )
    return Encoder(DualChannelEncoder(config), "0" * 12)


@pytest.fixture
def toy_splits(monkeypatch):
    def data(split, level, folder, *, training=True, report=None):
        return few_shot_split(split, *(toy_pairs(n, 10 * split + n) for n in (6, 5, 12)))

    monkeypatch.setattr(retrieval, "few_shot_data", data)


@pytest.fixture
def trained(monkeypatch):
    """Replace fine-tuning by a record of what was asked, and a loss for the triplet ablation."""
    asked = []

    def tune(model, train, validation, config, *, checkpoint=None):
        asked.append((config.strategy, config.ablation, config.seed, config.steps))
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_text("half way")
        yield FineTuneReport("training", 1, 2, 0.5, None, 0.1, 1, 1.0, 0.0)
        if config.ablation is Ablation.TRIPLET:
            for parameter in model.parameters():
                parameter.data.zero_()
        yield FineTuneReport("done", 2, 2, 0.5, None, 0.1, 1, 1.0, 0.0)

    monkeypatch.setattr(few_shot, "fine_tune", tune)
    return asked


def request(**changes):
    usual = {"measures": (PlainMeasure.PEARSON,), "search": STILL, "splits": 2}
    return RetrievalRequest(**(usual | changes))


def test_one_table_of_configurations_and_measures(encoder, toy_splits, trained):
    said = []
    names = ("dual-channel", "zero-shot", "triplet")
    result = benchmark_retrieval(
        encoder, request(configurations=names), report=lambda *each: said.append(each)
    )
    rows = {row.method: row for row in result.results}
    names = ["zero-shot", "dual-channel", "triplet", "pearson", "pearson, band-passed"]
    assert list(rows) == names
    assert (result.seeds, result.n_queries) == ((100, 101), 24)
    assert rows["pearson"].topk["1"] == 1.0
    assert rows["pearson"].figures["top1_gated"].mean == 1.0
    # Nothing was learned but by the triplet, which unlearned all.
    assert rows["dual-channel"].topk == rows["zero-shot"].topk
    assert rows["zero-shot"].against_full["top1"].interval == (0.0, 0.0)
    assert rows["triplet"].topk["1"] == 0.0
    assert rows["dual-channel"].against_full is None
    assert rows["triplet"].against_full["auc"].mean < 0
    assert result.ratio == rows["zero-shot"].topk["1"]
    assert [len(line.split(" | ")) for line in result.markdown.splitlines()[2:]] == [24] * 5
    counts = [done for done, _, _ in said]
    assert counts == sorted(counts)
    assert said[-1][:2] == (10000, 10000)
    assert "triplet, split 2 of 2, about 1 min left" in {text for _, _, text in said}


def test_means_differences_and_counts_are_those_of_the_splits(encoder, toy_splits, trained):
    result = benchmark_retrieval(encoder, request(configurations=("zero-shot",)))
    single = [
        benchmark_retrieval(encoder, request(configurations=("zero-shot",), splits=1))
        for _ in range(2)
    ]
    assert single[0].results[0].figures["auc"].sd is None
    # Runs are the same by seed, but for the clock.
    first, second = (each.results[1].model_dump(exclude={"seconds"}) for each in single)
    assert first == second
    row = result.results[1]
    assert row.confusion.true_positive + row.confusion.false_negative == 24
    assert row.confusion.true_negative + row.confusion.false_positive == 96
    assert row.figures["recall"].mean == pytest.approx(row.confusion.recall)


def test_a_benchmark_goes_on_where_it_was_stopped(encoder, toy_splits, trained, tmp_path):
    def stop(done, total, text):
        if text.startswith("linear, split 2"):
            raise Cancelled("Stopped.")

    wanted = request(configurations=("zero-shot", "linear"), measures=())
    with pytest.raises(Cancelled):
        benchmark_retrieval(encoder, wanted, cache=tmp_path, report=stop)
    assert [strategy for strategy, *_ in trained] == ["linear"]
    results = sorted((tmp_path / "results").glob("*.json"))
    assert len(results) == 3
    assert json.loads(results[0].read_text())["about"]["start"] == "tiny 000000000000"
    first = benchmark_retrieval(encoder, wanted, cache=tmp_path)
    assert [strategy for strategy, *_ in trained] == ["linear", "linear"]
    again = benchmark_retrieval(encoder, wanted, cache=tmp_path)
    assert len(trained) == 2
    assert again == first
    # A damaged result is made anew, other settings are another result.
    for path in results:
        path.with_suffix(".npz").write_bytes(b"PK")
    benchmark_retrieval(encoder, wanted, cache=tmp_path)
    assert len(trained) == 3
    benchmark_retrieval(encoder, wanted.model_copy(update={"steps": 7}), cache=tmp_path)
    assert [steps for *_, steps in trained[3:]] == [7] * 2
    assert not list((tmp_path / "results").glob("*.checkpoint"))


def test_the_same_training_under_two_names_is_done_once(encoder, toy_splits, trained, tmp_path):
    wanted = request(configurations=("full", "no-miner"), measures=(), splits=1)
    result = benchmark_retrieval(encoder, wanted, cache=tmp_path)
    assert trained[0][:2] == (Strategy.FULL, Ablation.NO_MINER)
    assert len(trained) == 1
    assert result.results[0].topk == result.results[1].topk


@pytest.mark.slow
def test_a_generic_initialisation_learns_and_is_not_the_model(encoder, monkeypatch, tmp_path):
    monkeypatch.setattr(few_shot, "GENERIC_STEPS", 50)
    # All of them are in a batch of either loss.
    data = few_shot_split(0, toy_pairs(64, 1), toy_pairs(5, 2), toy_pairs(12, 3))
    bench = Bench(encoder, encoder.config, tmp_path)
    said = []
    generic = bench.compare(
        CONFIGURATIONS["generic initialisation"], data, "paper", lambda *each: said.append(each)
    )
    zero_shot = bench.compare(CONFIGURATIONS["zero-shot"], data, "paper", lambda *_: None)
    assert generic.steps in (25, 50)
    assert said == [(25, 50, "training"), (50, 50, "training")]
    assert np.abs(generic.test - zero_shot.test).max() > 0.01


def test_data_of_a_split_is_simulated_once_and_of_scenes_of_its_own(monkeypatch, tmp_path):
    asked = []

    def simulate(n, *, seed, level, cells_per_scene, report=None):
        asked.append((n, seed, level, cells_per_scene))
        return toy_pairs(n, seed)

    monkeypatch.setattr(few_shot_data, "simulate_pairs", simulate)
    first = few_shot_data.few_shot_data(2, "easy", tmp_path)
    assert asked == [(30, 12, "easy", 30), (53, 102, "easy", 53), (190, 202, "easy", 64)]
    again = few_shot_data.few_shot_data(2, "easy", tmp_path)
    assert len(asked) == 3
    assert [len(part) for part in (again.train, again.validation, again.test)] == [190, 30, 53]
    assert np.array_equal(first.test.fmost, again.test.fmost)
    assert np.array_equal(first.test_trials.candidate, again.test_trials.candidate)
    # Where nothing learns, there is nothing to learn from.
    some = few_shot_data.few_shot_data(2, "easy", tmp_path / "other", training=False)
    assert asked[3:] == asked[:2]
    assert [len(part) for part in (some.train, some.validation, some.test)] == [0, 30, 53]


def test_a_plain_measure_is_asked_about_both_parts(encoder, tmp_path):
    data = few_shot_split(0, *(toy_pairs(n, n) for n in (6, 5, 12)))
    method = PlainConfiguration(measure=PlainMeasure.COSINE, search=STILL)
    compared = Bench(encoder, encoder.config, tmp_path).compare(
        method, data, "paper", lambda *_: None
    )
    assert (compared.validation.shape, compared.test.shape) == ((5, 5), (12, 12))
    assert compared.steps == 0


def test_figures_are_drawn_of_what_ran(encoder, toy_splits, trained, tmp_path):
    result = benchmark_retrieval(
        encoder, request(configurations=("zero-shot", "triplet")), figures=tmp_path
    )
    assert sorted(Path(path).name for path in result.figures) == sorted(
        [
            *(f"{kind}-{group}.png" for kind in ("top-k", "heat-maps", "densities", "boxes")
              for group in ("strategies", "ablations", "measures")),
            "confusion.png",
        ]
    )  # fmt: skip
    assert all(Path(path).stat().st_size > 5000 for path in result.figures)


def test_bad_requests_are_one_sentence(encoder, monkeypatch):
    with pytest.raises(InputError, match="at least one split"):
        benchmark_retrieval(encoder, request(splits=0))
    with pytest.raises(InputError, match="no configuration 'half'"):
        benchmark_retrieval(encoder, request(configurations=("linear", "half")))
    monkeypatch.setattr(few_shot, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="'lora-8' needs peft"):
        benchmark_retrieval(encoder, request(configurations=("lora-8",)))


@pytest.mark.slow
@pytest.mark.skipif(not BUNDLED.exists(), reason="no bundled model in this tree")
def test_bundled_model_finds_cells_of_a_held_out_scene():
    result = benchmark_retrieval(
        Encoder.load(BUNDLED),
        RetrievalRequest(configurations=("zero-shot",), measures=(PlainMeasure.PEARSON,), splits=1),
    )
    ours, *plain = result.results
    assert ours.topk["1"] >= 0.40
    assert [row.method for row in plain] == ["pearson", "pearson, band-passed"]
    assert all(ours.topk["1"] > row.topk["1"] for row in plain)
