import numpy as np
import pytest
import torch

from napari_neurobridge.encoder.dual_channel import EncoderConfig
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.encoder.global_channel import GlobalConfig
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.training import bundled_encoder, simulated_data
from napari_neurobridge.training.encoder_task import EncoderTaskConfig
from napari_neurobridge.training.loop import LoopConfig
from napari_neurobridge.training.simulated_data import PairSource

CONFIG = EncoderTaskConfig(
    encoder=EncoderConfig(
        name="tiny",
        dim=16,
        local_channel=LocalConfig(window=16, widths=(8,), strides=(4,), blocks=(0,)),
        global_channel=GlobalConfig(
            stem_widths=(8,),
            stem_strides=(4,),
            stem_blocks=(0,),
            vit_options={"patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2},
        ),
    ),
    loop=LoopConfig(steps=4, checkpoint_every=1, report_every=1),
    sources=(PairSource(pairs=12),),
    neurons=6,
    contrastive_neurons=6,
    contrastive_steps=2,
    validation_seeds=(10,),
    test_seeds=(100, 101),
)


@pytest.fixture(autouse=True)
def noise_for_simulation(monkeypatch):
    """Pairs of noise: what is tested here is the folder, not what the network learns."""
    torch.set_num_threads(1)

    def pairs(n, *, seed, level, cells_per_scene, morphologies=(), report=None):
        rng = np.random.default_rng(seed)
        sides = rng.random((2, n, 150, 150), dtype=np.float32)
        return PairSet(sides[0], sides[1], np.arange(n) // cells_per_scene)

    monkeypatch.setattr(simulated_data, "simulate_pairs", pairs)
    monkeypatch.setattr(simulated_data, "SHARD_PAIRS", 12)
    monkeypatch.setattr(simulated_data, "EVALUATION_CELLS", 8)
    monkeypatch.setattr(bundled_encoder, "FINGERPRINT_CROPS", 10)
    monkeypatch.setattr(bundled_encoder, "VALIDATE_EVERY", 2)


def test_folder_holds_all_that_the_model_needs_and_says_how_it_was_made(tmp_path):
    out = tmp_path / "tiny"
    report = bundled_encoder.make_model_folder(out, CONFIG, tmp_path / "cache", command="make it")
    assert report.n == 16
    encoder = Encoder.load(out)
    assert sorted(path.name for path in out.iterdir()) == [
        "SHA256SUMS",
        "card.md",
        "config.toml",
        "fingerprint.npz",
        "weights.safetensors",
    ]
    card = (out / "card.md").read_text(encoding="utf-8")
    assert "make it" in card
    assert encoder.hash in card
    assert f"{report.topk_scene['1']:.3f}" in card
    assert "not yet validated on a public real pair" in card
    with np.load(out / "fingerprint.npz", allow_pickle=False) as fingerprint:
        assert fingerprint["two_photon"].shape == (10, 8 + 16)
        np.testing.assert_allclose(
            fingerprint["fmost_mean"], fingerprint["fmost"].mean(axis=0), atol=0.02
        )
        assert fingerprint["fmost_cov"].shape == (24, 24)


def test_a_cancelled_run_goes_on_to_the_same_weights(tmp_path):
    whole = tmp_path / "whole"
    bundled_encoder.make_model_folder(whole, CONFIG, tmp_path / "a", command="")

    def cancel_while_training(done, total, text):
        if text.startswith("training,") and done == 2:
            raise Cancelled("stopped")

    resumed, cache = tmp_path / "resumed", tmp_path / "b"
    with pytest.raises(Cancelled):
        bundled_encoder.make_model_folder(
            resumed, CONFIG, cache, command="", report=cancel_while_training
        )
    assert not resumed.exists()
    bundled_encoder.make_model_folder(resumed, CONFIG, cache, command="")
    assert Encoder.load(resumed).hash == Encoder.load(whole).hash


def test_command_line_reports_bad_use_without_a_traceback(tmp_path, caplog):
    arguments = ["--out", str(tmp_path / "m"), "--cache", str(tmp_path)]
    assert bundled_encoder.main([*arguments, "--morphologies", str(tmp_path / "none")]) == 2
    assert "There is no folder" in caplog.text


def test_the_release_recipe_makes_a_folder_at_toy_size_from_another_model(tmp_path, monkeypatch):
    """The one command that trains the release: posed and sparse pairs, from given weights."""

    def posed(n, *, seed, level, poses, cells_per_scene, morphologies=(), report=None):
        rng = np.random.default_rng(seed)
        sides = rng.random((2, n, 150, 150), dtype=np.float32)
        scene = np.arange(n) // cells_per_scene
        return [PairSet(sides[0], sides[1], scene) for _ in poses]

    monkeypatch.setattr(simulated_data, "simulate_posed_pairs", posed)
    monkeypatch.setattr(bundled_encoder, "read_swc_folder", lambda folder, um_per_unit: [folder])
    small = {"neurons": 6, "contrastive_neurons": 8, "memory": 16, "test_seeds": (100,)}
    small["encoder"] = CONFIG.encoder.model_copy(update={"mask": True, "dropout": 0.1})
    recipe, sources = bundled_encoder.RECIPES["release"]
    monkeypatch.setitem(
        bundled_encoder.RECIPES,
        "release",
        (lambda **asked: recipe(**asked).model_copy(update=small), sources),
    )
    began = tmp_path / "began"
    bundled_encoder.make_model_folder(began, CONFIG, tmp_path / "a", command="")
    out = tmp_path / "release"
    options = ["--recipe", "release", "--start", str(began), "--share", "0.0005", "--steps", "4"]
    folders = ["--out", str(out), "--cache", str(tmp_path / "b"), "--morphologies", str(tmp_path)]
    assert bundled_encoder.main([*options, *folders]) == 0
    encoder = Encoder.load(out)
    assert encoder.config.mask
    assert encoder.config.dropout == 0.1
    card = (out / "card.md").read_text(encoding="utf-8")
    assert "--recipe release --start began --share 0.0005" in card
    assert "level `sparse`" in card
    assert "2 turned by up to 45°, tilted by up to 10°" in card
    assert f"began with the weights of tiny {Encoder.load(began).hash}" in card
    assert "validity mask" in card


def test_weights_of_another_architecture_and_no_pairs_are_refused(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(bundled_encoder, "read_swc_folder", lambda folder, um_per_unit: [folder])
    began = tmp_path / "began"
    bundled_encoder.make_model_folder(began, CONFIG, tmp_path / "a", command="")
    arguments = ["--out", str(tmp_path / "m"), "--cache", str(tmp_path), "--morphologies", "."]
    assert bundled_encoder.main([*arguments, "--share", "0"]) == 2
    assert "A share of the pairs is above 0" in caplog.text
    other = CONFIG.model_copy(update={"encoder": EncoderConfig(name="wide", mask=True)})
    with pytest.raises(InputError, match="do not fit the architecture"):
        bundled_encoder.started_from(Encoder.load(began), other)
