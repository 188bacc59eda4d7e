import numpy as np
import pytest
import torch

from napari_neurobridge.benchmarks import embedding_speed
from napari_neurobridge.benchmarks.embedding_speed import (
    EmbeddingSpeedParameters,
    measure_embedding_speed,
)
from napari_neurobridge.encoder.dual_channel import EncoderConfig
from napari_neurobridge.errors import InputError


class Clocked:
    """Stands in for an encoder: each forward pass takes 2 s of a clock, each embedding 5 s."""

    name, hash = "clocked", "0" * 12
    device = torch.device("cpu")
    config = EncoderConfig(crop_pixels=64)

    def __init__(self, monkeypatch):
        self.now, self.seen = 0.0, []
        monkeypatch.setattr(embedding_speed.time, "perf_counter", lambda: self.now)

    def embed(self, crops, *, batch_size):
        assert crops.dtype == np.float32
        self.seen.append("embed")
        self.now += 5.0

    def model(self, batch):
        assert batch.shape[1:] == (1, 64, 64)
        self.seen.append(len(batch))
        self.now += 1.0


def test_embedding_and_forward_passes_take_turns_on_the_same_batches(monkeypatch):
    encoder = Clocked(monkeypatch)
    result = measure_embedding_speed(encoder, EmbeddingSpeedParameters(crops=100, rounds=2))
    assert encoder.seen == ["embed", 64, 36, 64, 36, "embed", "embed", 64, 36]
    assert result.forward_per_second == pytest.approx(50)
    assert result.embed_per_second == pytest.approx(20)
    assert result.ratio == pytest.approx(0.4)


def test_nothing_to_measure_is_one_sentence(monkeypatch):
    with pytest.raises(InputError, match="at least 1 crop"):
        measure_embedding_speed(Clocked(monkeypatch), EmbeddingSpeedParameters(crops=0))
