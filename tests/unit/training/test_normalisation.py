"""Statistics of batch normalisation from unlabelled crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
from napari_neurobridge.encoder.global_channel import GlobalConfig
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.errors import InputError
from napari_neurobridge.training.normalisation import with_statistics_of


def small_model():
    torch.manual_seed(0)
    return DualChannelEncoder(
        EncoderConfig(
            crop_pixels=16,
            dim=16,
            views=1,
            dropout=0.5,
            local_channel=LocalConfig(window=8, widths=(4,), strides=(2,), blocks=(0,), readout=4),
            global_channel=GlobalConfig(
                stem_widths=(4,), stem_strides=(2,), stem_blocks=(0,), readout=4,
                vit_options={"patch_size": 4, "embed_dim": 8, "depth": 1, "num_heads": 1},
            ),
        )
    ).eval()  # fmt: skip


def norms(model):
    return [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]


def test_statistics_are_those_of_what_the_layer_sees_and_nothing_else_changes():
    model = small_model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    crops = np.random.default_rng(0).random((2, 20, 16, 16)).astype(np.float32)
    adapted = with_statistics_of(model, crops)
    seen = []
    layer = norms(adapted)[0]
    layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        adapted(torch.from_numpy(np.concatenate(crops))[:, None])
    # Forty crops are one batch.
    torch.testing.assert_close(layer.running_mean, seen[0].mean(dim=(0, 2, 3)))
    torch.testing.assert_close(layer.running_var, seen[0].var(dim=(0, 2, 3)))
    assert not any(module.training for module in adapted.modules())
    assert [m.momentum for m in norms(adapted)] == [m.momentum for m in norms(model)]
    for key, value in adapted.state_dict().items():
        changed = key.split(".")[-1] in ("running_mean", "running_var", "num_batches_tracked")
        assert changed or torch.equal(value, before[key])
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_each_side_alone_gives_statistics_of_its_own():
    rng = np.random.default_rng(1)
    dark, bright = (rng.random((10, 16, 16)).astype(np.float32) ** power for power in (4, 0.5))
    first, both = (with_statistics_of(small_model(), s) for s in ([dark], [dark, bright]))
    assert not torch.allclose(norms(first)[0].running_var, norms(both)[0].running_var)


def test_what_cannot_be_adapted_is_refused():
    with pytest.raises(InputError, match="at least two crops, not 1"):
        with_statistics_of(small_model(), [np.zeros((1, 16, 16), np.float32)])
    model = small_model()
    model.local_channel.stages = torch.nn.Identity()
    model.global_channel.stem = torch.nn.Identity()
    if not norms(model):
        with pytest.raises(InputError, match="no statistics of batch normalisation"):
            with_statistics_of(model, [np.zeros((2, 16, 16), np.float32)])
