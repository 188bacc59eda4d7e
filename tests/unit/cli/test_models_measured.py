"""``evaluate`` with figures, and those parts of ``benchmark`` that are about models."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_neurobridge.cli import main

PIXELS = 32


def call(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def answer(*arguments: object) -> dict[str, Any]:
    code, out, err = call(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def refusal(*arguments: object) -> str:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    return line


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights."""
    import torch

    from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
    from napari_neurobridge.encoder.embed import save_model
    from napari_neurobridge.encoder.local_channel import LocalConfig

    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    local = LocalConfig(window=16, widths=(8,), strides=(2,), blocks=(0,))
    config = EncoderConfig(
        name="tiny", crop_pixels=PIXELS, dim=16, views=1, channels="local", local_channel=local
    )
    save_model(DualChannelEncoder(config), folder)
    return folder


@pytest.fixture
def pairs(tmp_path: Path):
    from napari_neurobridge.io.pairs import PairSet

    sides = np.random.default_rng(0).random((2, 60, PIXELS, PIXELS), dtype=np.float32)
    made = PairSet(sides[0], sides[0], np.repeat([0, 1], [20, 40]))
    made.save(tmp_path / "pairs.npz")
    return tmp_path / "pairs.npz"


def test_evaluate_answers_with_both_kinds_of_negatives_and_intervals(pairs, model):
    result = answer("evaluate", "--pairs", pairs, "--model", model)
    assert result["hard_by"] == "reference"
    assert len(result["curve"]) == 53
    assert result["top1_gated"] is None
    assert set(result["intervals"]) == set(result["own_hard"]["intervals"])
    assert result["figures"] == []
    _, text, _ = call("evaluate", "--pairs", pairs, "--model", model)
    assert "median_rank: 1.0" in text
    assert "curve" not in text


def test_evaluate_draws_figures_with_the_measures_that_are_asked_for(
    pairs, model, tmp_path, monkeypatch
):
    from napari_neurobridge.training import plain_measures

    compared = []

    def quick(measure, two_photon, fmost, *, report=None):
        compared.append((measure.value, len(fmost)))
        return np.random.default_rng(len(compared)).random((len(two_photon), len(fmost)))

    monkeypatch.setattr(plain_measures, "plain_similarity", quick)
    out = tmp_path / "figures"
    result = answer("evaluate", "--pairs", pairs, "--model", model, "--figures", out, "--measures")
    names = ["best-matches", "boxes", "confusion", "densities", "heat-maps", "t-sne", "top-k"]
    assert sorted(Path(path).stem for path in result["figures"]) == names
    assert {path.stem for path in out.iterdir()} == set(names)
    # A gallery of the paper's size, however many pairs there are.
    assert set(compared) == {(name, 53) for name in ("nmi", "ssim", "pearson", "cosine", "mse")}
    assert len(compared) == 5 * 53
    plain = answer("evaluate", "--pairs", pairs, "--model", model)
    assert plain == result | {"figures": []}


def test_measures_need_figures_to_be_in(pairs, model):
    assert "--figures" in refusal("evaluate", "--pairs", pairs, "--model", model, "--measures")


def test_benchmark_retrieval_passes_on_what_is_asked(model, tmp_path, monkeypatch):
    from napari_neurobridge.benchmarks import retrieval
    from napari_neurobridge.benchmarks.few_shot_data import few_shot_split
    from napari_neurobridge.io.pairs import PairSet

    def data(split, level, folder, *, training=True, report=None):
        rng = np.random.default_rng(split)
        sets = []
        for n in (6, 5, 12):
            crops = rng.random((n, PIXELS, PIXELS), dtype=np.float32)
            sets.append(PairSet(crops, crops, np.zeros(n, int)))
        return few_shot_split(split, *sets)

    monkeypatch.setattr(retrieval, "few_shot_data", data)
    request = ("benchmark", "retrieval", "--model", model, "--no-measures", "--splits", 2)
    result = answer(*request, "--configurations", "zero-shot, linear", "--cache", tmp_path,
                    "--steps", 1)  # fmt: skip
    assert [row["method"] for row in result["results"]] == ["zero-shot", "linear"]
    assert (result["seeds"], result["n_queries"], result["candidates"]) == ([100, 101], 24, 53)
    assert result["results"][0]["topk"]["1"] == 1.0
    assert len(list((tmp_path / "results").glob("*.json"))) == 4
    _, text, _ = call(*request, "--configurations", "zero-shot", "--cache", tmp_path)
    assert text.startswith("| method | top-1 |")
    line = refusal("benchmark", "retrieval", "--model", model, "--configurations", "half")
    assert "zero-shot" in line
    assert "at least one split" in refusal("benchmark", "retrieval", "--model", model,
                                           "--splits", 0)  # fmt: skip


def test_benchmark_of_the_speed_of_embedding(model):
    request = ("benchmark", "embedding-speed", "--model", model, "--crops", 8, "--rounds", 2)
    result = answer(*request)
    assert result["crops"] == 8
    assert result["ratio"] > 0
    assert "at least 1 crop" in refusal(*request[:5], 0)


def test_benchmark_of_silver_crops_names_what_is_missing(model, tmp_path):
    request = ("benchmark", "silver-crops", "a.tif", "b.tif", tmp_path / "none.csv")
    assert "none.csv" in refusal(*request, "--model", model)
    assert "lora-16" in refusal(*request, "--model", model, "--strategy", "some")
