"""``train``: what it answers, and what it says to wrong use."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from napari_neurobridge.cli import main
from napari_neurobridge.cli.train import DEFAULT_STRATEGY, STRATEGIES

PIXELS = 32


def call(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A file of pairs, and a model folder with random weights."""
    import torch

    from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
    from napari_neurobridge.encoder.embed import save_model
    from napari_neurobridge.encoder.local_channel import LocalConfig
    from napari_neurobridge.io.pairs import PairSet

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, pairs = tmp_path / "tiny", tmp_path / "pairs.npz"
    model.mkdir()
    local = LocalConfig(window=16, widths=(8,), strides=(2,), blocks=(0,))
    config = EncoderConfig(
        name="tiny", crop_pixels=PIXELS, dim=16, views=1, channels="local", local_channel=local
    )
    save_model(DualChannelEncoder(config), model)
    sides = np.random.default_rng(0).random((2, 18, PIXELS, PIXELS), dtype=np.float32)
    PairSet(sides[0], sides[1], np.arange(18) % 3).save(pairs)
    return pairs, model


def test_the_strategies_are_those_of_the_encoder():
    from napari_neurobridge.encoder.strategies import Strategy
    from napari_neurobridge.training.fine_tune import FineTuneConfig

    assert tuple(Strategy) == STRATEGIES
    assert FineTuneConfig().strategy == DEFAULT_STRATEGY


def test_it_answers_with_the_model_and_both_evaluations(files, tmp_path):
    pairs, model = files
    code, out, err = call(
        "train", "--pairs", pairs, "--from", model, "--strategy", "full", "--steps", 2,
        "--out", tmp_path / "new", "--json", "--progress", "json",
    )  # fmt: skip
    assert code == 0, err
    answer = json.loads(out)
    assert answer["model"] == str(tmp_path / "new")
    assert answer["before"].keys() == answer["after"].keys()
    assert {"topk", "recall", "specificity", "auc", "n"} <= answer["after"].keys()
    assert isinstance(answer["adopted"], bool)
    assert answer["seconds"] > 0
    assert (answer["n_train"], answer["n_validation"], answer["n_test"]) == (6, 6, 6)
    steps = [json.loads(line) for line in err.splitlines()]
    assert steps[-1]["done"] == steps[-1]["total"] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Give either a PROJECT or --pairs"),
        (("--pairs", "x.npz"), "--pairs needs --out"),
        (("--pairs", "x.npz", "--out", "y"), "There is no file x.npz"),
        (("x", "--strategy", "best"), "There is no strategy 'best'; choose frozen, linear"),
        (("x", "--steps", 3, "--epochs", 3), "Give --steps or --epochs, not both"),
        (("x", "--steps", 0), "--steps"),
    ],
)
def test_wrong_use_is_one_line(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("train", *arguments)
    assert code == 2
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("Error: ")
    assert words in line


def test_dual_channel_on_one_channel_is_refused(files, tmp_path):
    pairs, model = files
    code, _, err = call("train", "--pairs", pairs, "--from", model, "--out", tmp_path / "new")
    assert code == 2
    assert "choose the strategy 'full'" in err
    assert not (tmp_path / "new").exists()


def test_a_model_and_a_backbone_exclude_each_other(files: tuple[Path, Path], tmp_path: Path):
    pairs, model = files
    code, _, error = call(
        "train", "--pairs", pairs, "--out", tmp_path / "out", "--from", model, "--backbone", "vgg11"
    )
    assert code == 2
    assert "--from or --backbone" in error
