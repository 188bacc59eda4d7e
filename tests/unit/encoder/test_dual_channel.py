import pytest
import torch
from pydantic import ValidationError

from napari_neurobridge.encoder.attention import ChannelAttention, SpatialAttention
from napari_neurobridge.encoder.backbone import conv_stages, pyramid_side
from napari_neurobridge.encoder.dual_channel import (
    DualChannelEncoder,
    EncoderConfig,
    standardize,
    valid_pixels,
    with_dropout,
    with_mask,
)
from napari_neurobridge.encoder.global_channel import GlobalConfig
from napari_neurobridge.encoder.local_channel import LocalConfig

SMALL = EncoderConfig(
    name="small",
    crop_pixels=48,
    dim=32,
    local_channel=LocalConfig(window=24, widths=(8, 8), strides=(2, 2), blocks=(0, 1)),
    global_channel=GlobalConfig(
        stem_widths=(8, 8),
        stem_strides=(4, 2),
        stem_blocks=(0, 1),
        vit_options={
            "patch_size": 2,
            "embed_dim": 16,
            "depth": 1,
            "num_heads": 2,
            "class_token": False,
            "global_pool": "",
        },
    ),
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def test_output_is_a_768_d_unit_vector_by_default():
    model = DualChannelEncoder(EncoderConfig()).eval()
    with torch.inference_mode():
        vectors = model(torch.rand(2, 1, 150, 150))
    assert vectors.shape == (2, 768)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))


def test_turning_both_crops_alike_leaves_their_similarity_and_its_views_are_side_by_side():
    model = DualChannelEncoder(SMALL).eval()
    crops = torch.rand(2, 1, 48, 48)
    with torch.inference_mode():
        held, turned = model(crops), model(torch.rot90(crops, 1, dims=(2, 3)))
        views = [model.embed_view(torch.rot90(crops, k, dims=(2, 3))) for k in range(4)]
    torch.testing.assert_close(held, torch.cat(views, dim=1) / 2)
    torch.testing.assert_close(held[0] @ held[1], turned[0] @ turned[1])
    assert not torch.allclose(held, turned)


def test_views_must_share_the_length_evenly():
    with pytest.raises(ValidationError, match="cannot be shared by 4 views"):
        EncoderConfig(dim=30)


def test_gate_weights_sum_to_one_and_differ_between_crops():
    model = DualChannelEncoder(SMALL)
    weights = model.gate_weights(torch.rand(5, 1, 48, 48))
    assert weights.shape == (5, 2)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(5))
    assert weights[:, 0].std() > 0


def test_gradient_reaches_every_parameter_of_both_channels_and_the_gate():
    model = DualChannelEncoder(SMALL)
    vectors = model(torch.rand(6, 1, 48, 48))
    (vectors * torch.randn_like(vectors)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    for part in (model.local_channel, model.global_channel, model.gate):
        assert sum(float(p.grad.abs().sum()) for p in part.parameters()) > 0


def test_local_channel_sees_only_the_soma_window():
    model = DualChannelEncoder(SMALL).eval()
    crop = torch.rand(1, 1, 48, 48)
    outside = crop.clone()
    outside[..., :12, :] = 1 - outside[..., :12, :]
    with torch.inference_mode():
        maps = model.local_channel.maps(crop)
        torch.testing.assert_close(model.local_channel.maps(outside), maps)
        assert not torch.allclose(
            model.global_channel.tokens(outside), model.global_channel.tokens(crop)
        )


@pytest.mark.parametrize("channel", ["local", "global"])
def test_ablated_channel_has_no_influence(channel):
    model = DualChannelEncoder(SMALL.model_copy(update={"channels": channel}))
    other = model.global_channel if channel == "local" else model.local_channel
    model(torch.rand(3, 1, 48, 48)).square().sum(dim=0).max().backward()
    grads = [p.grad for p in other.parameters() if p.grad is not None]
    assert all(not grad.any() for grad in grads)


def test_brightness_and_contrast_of_the_root_do_not_matter():
    crops = torch.rand(2, 1, 48, 48) * 0.5 + 0.1
    torch.testing.assert_close(standardize(crops), standardize(crops * 0.3), atol=1e-4, rtol=1e-3)
    assert standardize(torch.zeros(1, 1, 48, 48)).isfinite().all()


def test_trunk_features_pool_both_trunks():
    model = DualChannelEncoder(SMALL).eval()
    assert model.trunk_features(torch.rand(3, 1, 48, 48)).shape == (3, 8 + 16)


def test_pyramid_side_agrees_with_the_layers():
    for side in (64, 150, 151):
        stages = conv_stages((4, 4, 4), (4, 2, 2), (0, 0, 0))
        assert stages(torch.zeros(1, 1, side, side)).shape[-1] == pyramid_side(side, (4, 2, 2))


def test_attention_only_reweights():
    features = torch.randn(2, 8, 5, 5)
    for attention in (ChannelAttention(8), SpatialAttention()):
        ratio = attention(features) / features
        assert ((ratio > 0) & (ratio < 1)).all()
    ratio = SpatialAttention()(features) / features
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    ratio = ChannelAttention(8)(features) / features
    torch.testing.assert_close(ratio, ratio[..., :1, :1].expand_as(ratio))


def test_dropout_changes_neither_weights_nor_results_unless_it_is_switched_on():
    plain = DualChannelEncoder(SMALL)
    model = DualChannelEncoder(SMALL.model_copy(update={"dropout": 0.3}))
    assert list(model.state_dict()) == list(plain.state_dict())
    model.load_state_dict(plain.state_dict())
    crops = torch.rand(4, 1, 48, 48)
    with torch.inference_mode():
        assert torch.equal(model.eval()(crops), plain.eval()(crops))
    for module in model.modules():
        module.train(isinstance(module, torch.nn.Dropout))
    with torch.inference_mode():
        first, second = model(crops), model(crops)
    assert not torch.allclose(first, second)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(4))


def test_without_dropout_training_draws_no_random_numbers():
    model = DualChannelEncoder(SMALL).train()
    state = torch.get_rng_state()
    model(torch.zeros(2, 1, 48, 48))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_share_that_leaves_nothing_is_refused(rate):
    with pytest.raises(ValidationError, match="dropout"):
        EncoderConfig(dropout=rate)


def padded_crops():
    """Crops of noise whose first rows, by a slant, lie outside the image."""
    crops = torch.rand(4, 1, 48, 48).clamp_min(1e-6)
    rows, columns = torch.meshgrid(torch.arange(48), torch.arange(48), indexing="ij")
    inside = rows + columns // 3 >= 14
    return crops * inside, inside


def test_the_mask_is_nought_exactly_outside_the_image():
    crops, inside = padded_crops()
    assert torch.equal(valid_pixels(crops) > 0, inside.expand(4, 1, 48, 48))
    crops[:, :, 40, 20] = 0  # a dark pixel of a crop from elsewhere
    crops[:, :, 40:42, 30] = 0
    assert torch.equal(valid_pixels(crops) > 0, inside.expand(4, 1, 48, 48))


def test_an_encoder_with_a_mask_starts_as_the_one_without_and_learns_to_read_it():
    crops, _ = padded_crops()
    model = DualChannelEncoder(SMALL).eval()
    masked = with_mask(model)
    assert masked.config.mask and not model.config.mask
    torch.testing.assert_close(masked(crops), model(crops))
    torch.testing.assert_close(masked.trunk_features(crops), model.trunk_features(crops))
    torch.testing.assert_close(masked.gate_weights(crops), model.gate_weights(crops))
    (masked(crops) * torch.randn(4, 32)).sum().backward()
    for stages in (masked.local_channel.stages, masked.global_channel.stem):
        assert (stages[0][0].weight.grad[:, 1] != 0).any()


def test_what_is_seen_beside_the_mask_matters_once_it_is_trained():
    crops, _ = padded_crops()
    masked = with_mask(DualChannelEncoder(SMALL).eval())
    before = masked(crops)
    torch.nn.init.normal_(masked.global_channel.stem[0][0].weight[:, 1:])
    assert not torch.allclose(masked(crops), before)


def test_a_mask_wants_a_stem():
    bare = GlobalConfig(stem_widths=(), stem_strides=(), stem_blocks=())
    with pytest.raises(ValidationError, match="can have no mask"):
        EncoderConfig(mask=True, global_channel=bare)


def test_two_views_are_those_of_no_turn_and_a_quarter():
    config = EncoderConfig.model_validate(SMALL.model_dump() | {"views": 2})
    model = DualChannelEncoder(config).eval()
    crops = torch.rand(2, 1, 48, 48)
    views = [model.embed_view(torch.rot90(crops, k, dims=(2, 3))) for k in range(2)]
    torch.testing.assert_close(model(crops), torch.cat(views, dim=1) / 2**0.5)


def test_dropout_can_be_given_to_an_encoder_that_was_trained_without():
    crops = torch.rand(3, 1, 48, 48)
    model = DualChannelEncoder(SMALL).eval()
    dropping = with_dropout(model, 0.2)
    assert dropping.config.dropout == 0.2
    assert model.config.dropout == 0
    assert torch.equal(dropping(crops), model(crops))
    layers = [layer for layer in dropping.modules() if isinstance(layer, torch.nn.Dropout)]
    rates = {layer.p for layer in layers if layer.p}
    assert rates == {0.2}
    dropping.train()
    assert not torch.equal(dropping.embed_view(crops), dropping.embed_view(crops))
    with pytest.raises(ValidationError):
        with_dropout(model, 1.0)
