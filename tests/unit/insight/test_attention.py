import sys

import numpy as np
import pytest
import torch

from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.encoder.global_channel import GlobalConfig
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.attention import attention_maps

MAPS = ("query_local", "query_global", "candidate_local", "candidate_global")
needs_captum = pytest.mark.usefixtures("captum")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def captum():
    return pytest.importorskip("captum")


def encoder(views=4, channels="both", seed=0, **context):
    torch.manual_seed(seed)
    options = {"patch_size": 2, "embed_dim": 16, "depth": 1, "num_heads": 2}
    stem = {"stem_widths": (8,), "stem_strides": (4,), "stem_blocks": (1,), "vit_options": options}
    config = EncoderConfig(
        name="small",
        crop_pixels=32,
        dim=24,
        views=views,
        channels=channels,
        local_channel=LocalConfig(window=16, widths=(8,), strides=(2,), blocks=(1,)),
        global_channel=GlobalConfig(**(context or stem)),
    )
    model = DualChannelEncoder(config)
    for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_var.fill_(0.5)
    return Encoder(model, "")


@pytest.fixture
def crops():
    return np.random.default_rng(0).random((3, 32, 32), dtype=np.float32)


@needs_captum
@pytest.mark.parametrize("method", ["by-place", "averaged"])
def test_maps_lie_over_the_crop_and_reach_from_0_to_1(crops, method):
    maps = attention_maps(encoder(), crops[0], crops[1], method=method)
    for name in MAPS:
        field = getattr(maps, name)
        assert field.shape == (32, 32)
        assert field.dtype == np.float32
        assert field.min() >= 0
        assert field.max() == pytest.approx(1)
    outside = np.ones((32, 32), bool)
    outside[8:24, 8:24] = False
    assert (maps.query_local[outside] == 0).all()


@needs_captum
def test_similarity_and_gates_are_those_of_the_encoder(crops):
    model = encoder()
    maps = attention_maps(model, crops[0], crops[1])
    first, second = model.embed(crops[:2], precision="float32")
    assert maps.similarity == pytest.approx(float(first @ second), abs=1e-5)
    with torch.no_grad():
        gates = model.model.gate_weights(torch.from_numpy(crops[:2])[:, None].to(model.device))
    np.testing.assert_allclose(maps.query_gate, gates[0].cpu(), atol=1e-6)
    np.testing.assert_allclose(maps.candidate_gate, gates[1].cpu(), atol=1e-6)


@needs_captum
def test_a_turned_pair_has_turned_maps(crops):
    """Averaging over the quarter turns makes the map as free of direction as the vector is."""
    model = encoder()
    straight = attention_maps(model, crops[0], crops[1])
    turned = attention_maps(model, *(np.rot90(crop).copy() for crop in crops[:2]))
    for name in MAPS:
        np.testing.assert_allclose(
            getattr(turned, name), np.rot90(getattr(straight, name)), atol=1e-3
        )


@needs_captum
def test_maps_change_with_the_weights_and_with_the_candidate(crops):
    maps = attention_maps(encoder(), crops[0], crops[1])
    of_other_weights = attention_maps(encoder(seed=1), crops[0], crops[1])
    with_other_candidate = attention_maps(encoder(), crops[0], crops[2])
    for name in ("query_local", "query_global"):
        for other in (of_other_weights, with_other_candidate):
            correlation = np.corrcoef(getattr(maps, name).ravel(), getattr(other, name).ravel())
            assert correlation[0, 1] < 0.95


@needs_captum
def test_what_speaks_for_the_similarity_is_where_the_crops_agree():
    """A readout that compares brightness place by place must light up where both are bright."""
    model = encoder(views=1, channels="local")
    query, candidate = np.zeros((2, 32, 32), np.float32)
    query[10:14, 10:14] = query[18:22, 18:22] = 1
    candidate[10:14, 10:14] = 1
    local = model.model.local_channel
    torch.nn.init.eye_(local.head[1].weight.data)
    maps = attention_maps(model, query, candidate)
    assert maps.query_local[8:16, 8:16].mean() > maps.query_local[16:24, 16:24].mean()


@needs_captum
@pytest.mark.parametrize(("channels", "gate"), [("local", (1, 0)), ("global", (0, 1))])
def test_a_channel_that_is_not_used_has_a_dark_map(crops, channels, gate):
    maps = attention_maps(encoder(channels=channels), crops[0], crops[1])
    unused = "global" if channels == "local" else "local"
    assert getattr(maps, f"query_{unused}").max() == 0
    assert getattr(maps, f"query_{channels}").max() == pytest.approx(1)
    assert tuple(maps.candidate_gate) == gate


@needs_captum
def test_a_convolutional_backbone_has_maps_too(crops):
    bare = {"stem_widths": (), "stem_strides": (), "stem_blocks": ()}
    model = encoder(views=1, vit="resnet10t", vit_options={}, **bare)
    maps = attention_maps(model, crops[0], crops[1])
    assert maps.query_global.shape == (32, 32)


@needs_captum
def test_weights_and_mode_are_left_as_they_were(crops):
    model = encoder()
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    attention_maps(model, crops[0], crops[1])
    assert not model.model.training
    assert all(parameter.grad is None for parameter in model.model.parameters())
    for name, tensor in model.model.state_dict().items():
        assert torch.equal(tensor, before[name])


@needs_captum
def test_frozen_weights_are_explained_as_well(crops):
    model = encoder()
    free = attention_maps(model, crops[0], crops[1])
    model.model.requires_grad_(False)
    frozen = attention_maps(model, crops[0], crops[1])
    np.testing.assert_allclose(frozen.query_global, free.query_global, atol=1e-6)


@pytest.mark.parametrize("shape", [(30, 30), (32,), (1, 32, 32)])
def test_a_crop_of_another_size_is_refused(crops, shape):
    with pytest.raises(InputError, match="32 x 32 pixels"):
        attention_maps(encoder(), crops[0], np.zeros(shape, np.float32))


def test_a_crop_that_is_not_finite_is_refused(crops):
    crops[0, 3, 3] = np.nan
    with pytest.raises(InputError, match="NaN"):
        attention_maps(encoder(), crops[0], crops[1])


def test_without_captum_it_says_what_to_install(crops, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(InputError, match="pip install captum"):
        attention_maps(encoder(), crops[0], crops[1])
