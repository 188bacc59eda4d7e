from pathlib import Path

import numpy as np
import pytest
import torch

from napari_neurobridge.benchmarks import retrieval
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.pair_set import PairSet
from napari_neurobridge.training.plain_measures import PlainMeasure, PoseSearch

BUNDLED = Path(__file__).parents[3] / "models" / "compact"


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class Oracle:
    """Stands in for an encoder: it knows one pixel by which a toy cell can be told."""

    name, hash = "oracle", "0" * 12

    def embed(self, crops):
        angle = crops[:, 0, 0] * np.pi / 2
        return np.stack((np.cos(angle), np.sin(angle)), axis=1)


@pytest.fixture
def toy_scenes(monkeypatch):
    def pairs(seeds, level):
        n = 6
        sides = np.random.default_rng(0).random((2, len(seeds) * n, 20, 20), dtype=np.float32)
        sides[:, :, 0, 0] = np.tile(np.linspace(0, 1, n), len(seeds))
        return PairSet(sides[0], sides[1], np.repeat(np.arange(len(seeds)), n))

    monkeypatch.setattr(retrieval, "held_out_pairs", pairs)


def test_methods_are_ranked_within_each_scene_on_the_same_crops(toy_scenes):
    seen = []
    result = retrieval.benchmark_retrieval(
        Oracle(),
        seeds=(1, 2),
        measures=(PlainMeasure.PEARSON, PlainMeasure.MSE),
        search=PoseSearch(max_angle_deg=0, max_shift_px=0),
        report=lambda done, total, _: seen.append((done, total)),
    )
    ours, pearson, mse = result.results
    # Two scenes hold the same six cells, so ranking across scenes could not be perfect.
    assert ours.topk == {"1": 1.0, "5": 1.0, "10": 1.0}
    assert (pearson.method, mse.method) == ("pearson", "mse")
    best = max(pearson.topk["1"], mse.topk["1"])
    assert result.ratio == (pytest.approx(1 / best) if best else None)
    assert result.n_queries == 12
    assert result.table().splitlines()[2].startswith("| oracle (ours) | 1.000 |")
    assert seen[-1] == (36, 36)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_no_scene_is_one_sentence():
    with pytest.raises(InputError, match="at least one scene"):
        retrieval.benchmark_retrieval(Oracle(), seeds=())


@pytest.mark.slow
@pytest.mark.skipif(not BUNDLED.exists(), reason="no bundled model in this tree")
def test_bundled_model_finds_cells_of_a_held_out_scene():
    result = retrieval.benchmark_retrieval(
        Encoder.load(BUNDLED), seeds=(100,), measures=(PlainMeasure.PEARSON,)
    )
    ours, pearson = result.results
    assert ours.topk["1"] >= 0.40
    assert ours.topk["1"] > pearson.topk["1"]
