import sys

import pytest
import torch

from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
from napari_neurobridge.encoder.global_channel import GlobalConfig
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.encoder.strategies import (
    Strategy,
    adaptable_copy,
    backbone_blocks,
    keep_channels,
    plain_state,
)
from napari_neurobridge.errors import InputError

PIXELS = 32
LORA = [Strategy.LORA_4, Strategy.LORA_8, Strategy.LORA_16]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def make(**changes):
    torch.manual_seed(0)
    settings = {
        "crop_pixels": PIXELS,
        "dim": 32,
        "local_channel": LocalConfig(window=16, widths=(8,), strides=(2,), blocks=(1,)),
        "global_channel": GlobalConfig(
            stem_widths=(8,),
            stem_strides=(2,),
            stem_blocks=(0,),
            vit_options={"patch_size": 4, "embed_dim": 16, "depth": 6, "num_heads": 2},
        ),
    }
    return DualChannelEncoder(EncoderConfig(**(settings | changes))).eval()


def trainable(model):
    return {name for name, value in model.named_parameters() if value.requires_grad}


def crops(n=6):
    return torch.rand(n, 1, PIXELS, PIXELS, generator=torch.Generator().manual_seed(1))


def test_frozen_changes_nothing():
    assert trainable(adaptable_copy(make(), Strategy.FROZEN)) == set()


def test_linear_changes_the_last_layers_and_the_gate():
    names = trainable(adaptable_copy(make(), Strategy.LINEAR))
    modules = {".".join(name.split(".")[:2]) for name in names}
    assert modules == {"local_channel.head", "global_channel.head", "gate.mlp"}


def test_partial_changes_the_last_four_blocks_besides():
    model = make()
    names = trainable(adaptable_copy(model, Strategy.PARTIAL))
    assert trainable(adaptable_copy(model, Strategy.LINEAR)) < names
    blocks = {name.split(".")[3] for name in names if name.startswith("global_channel.vit.blocks.")}
    assert blocks == {"2", "3", "4", "5"}
    assert not any(
        name.startswith(("global_channel.stem", "local_channel.stages")) for name in names
    )


@pytest.mark.parametrize("strategy", [Strategy.FULL, Strategy.DUAL_CHANNEL])
def test_full_and_dual_channel_change_everything(strategy):
    model = make()
    assert trainable(adaptable_copy(model, strategy)) == {n for n, _ in model.named_parameters()}


@pytest.mark.parametrize("channels", ["local", "global"])
def test_a_channel_that_is_not_used_is_not_trained(channels):
    names = trainable(adaptable_copy(make(channels=channels), Strategy.FULL))
    assert names
    assert all(name.startswith(f"{channels}_channel.") for name in names)


def test_dual_channel_needs_both():
    with pytest.raises(InputError, match="uses the global one alone; choose the strategy 'full'"):
        adaptable_copy(make(channels="global"), Strategy.DUAL_CHANNEL)


def test_keeping_one_channel_leaves_the_weights_and_uses_only_its_own():
    model = make()
    keep_channels(model, "local")
    x = crops()
    before = model(x)
    with torch.no_grad():
        for value in model.global_channel.parameters():
            value.add_(1.0)
    assert model.config.channels == "local"
    assert torch.equal(model(x), before)


def test_the_copy_is_apart_from_its_original():
    model = make()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    working = adaptable_copy(model, Strategy.FULL)
    with torch.no_grad():
        for value in working.parameters():
            value.add_(1.0)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    moved = plain_state(working)
    assert list(moved) == list(before)
    assert torch.equal(moved["gate.mlp.0.bias"], before["gate.mlp.0.bias"] + 1)


@pytest.mark.parametrize("strategy", LORA)
def test_lora_trains_matrices_of_its_rank_and_merges_into_plain_weights(strategy):
    pytest.importorskip("peft")
    model = make()
    working = adaptable_copy(model, strategy, seed=3).eval()
    names = trainable(working)
    assert names
    assert all(".lora_" in name for name in names)
    rows = {value.shape[0] for name, value in working.named_parameters() if ".lora_A." in name}
    assert rows == {strategy.lora_rank}
    adapted = {name.split(".lora_")[0] for name in names}
    assert {"local_channel.head.1", "global_channel.readout", "global_channel.head.1"} < adapted
    assert "global_channel.vit.blocks.0.attn.qkv" in adapted
    x = crops()
    assert torch.equal(working(x), model(x))

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in working.parameters():
            if value.requires_grad:
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
    merged = make()
    merged.load_state_dict(plain_state(working))
    assert not torch.allclose(merged(x), model(x), atol=1e-3)
    assert torch.allclose(merged(x), working(x), atol=1e-5)


def test_lora_is_the_same_for_the_same_seed():
    pytest.importorskip("peft")
    model = make()
    first, again, other = (
        dict(adaptable_copy(model, Strategy.LORA_4, seed=s).named_parameters()) for s in (0, 0, 1)
    )
    name = "global_channel.readout.lora_A.default.weight"
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])


def test_without_peft_the_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"pip install napari-neurobridge\[lora\]"):
        adaptable_copy(make(), Strategy.LORA_8)


def test_blocks_are_counted_over_all_stages_of_a_convolutional_backbone():
    timm = pytest.importorskip("timm")
    model = make()
    model.global_channel.vit = timm.create_model("resnet18", num_classes=0)
    blocks = backbone_blocks(model)
    assert len(blocks) == 8
    assert all(type(block).__name__ == "BasicBlock" for block in blocks)
    model.global_channel.vit = timm.create_model("convnext_atto", num_classes=0)
    assert len(backbone_blocks(model)) == 12
