"""Small encoders that never saw one domain."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.models.fingerprint import read_fingerprint
from napari_neurobridge.models.model_folder import ModelFolder
from napari_neurobridge.training import left_out
from napari_neurobridge.training.left_out import left_out_source, left_out_task, shrunk


def test_a_source_learns_from_all_domains_but_one():
    levels = {source.level for source in left_out_task("domain-C").sources}
    assert levels == {f"domain-{letter}" for letter in "ABDEF"}
    with pytest.raises(InputError, match="no domain 'paper' to leave out"):
        left_out_task("paper")


def test_crops_are_averaged():
    crops = np.arange(2 * 6 * 6, dtype=np.float32).reshape(2, 6, 6)
    small = shrunk(PairSet(crops, crops + 1, np.zeros(2, dtype=np.int64)))
    assert small.two_photon.shape == (2, 2, 2)
    np.testing.assert_allclose(small.two_photon[1, 0, 1], crops[1, :3, 3:].mean())
    np.testing.assert_allclose(small.fmost, small.two_photon + 1)


def test_a_source_whose_training_was_stopped_is_the_same(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 255, (2, 60, 150, 150), dtype=np.uint8)
    pairs = (crops[0], crops[1], np.arange(60) // 30)
    monkeypatch.setattr(left_out, "training_pairs", lambda *a, **k: pairs)
    monkeypatch.setattr(left_out, "HEAD_STEPS", 3)
    monkeypatch.setattr(left_out, "_SETTLING_BATCHES", 1)
    config = left_out_task("domain-B", steps=2)
    straight = Encoder.load(left_out_source(config, tmp_path / "straight"))

    def stop(done, total, text):
        if "all weights" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        left_out_source(config, tmp_path / "stopped", report=stop)
    folder = left_out_source(config, tmp_path / "stopped")
    assert Encoder.load(folder).hash == straight.hash
    assert set(read_fingerprint(ModelFolder.open(folder))) == {"two_photon", "fmost"}
    assert "never seen\n`domain-B`" in (folder / "card.md").read_text(encoding="utf-8")
    assert not list((tmp_path / "stopped").glob("*.safetensors"))
