import pytest
import torch
from pydantic import ValidationError
from torch import nn

from napari_neurobridge.encoder.backbone import build_backbone, feature_layout
from napari_neurobridge.encoder.dual_channel import (
    DualChannelEncoder,
    EncoderConfig,
    backbone_config,
    paper_config,
)
from napari_neurobridge.encoder.global_channel import GlobalConfig, ImageLike
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.errors import InputError


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


# Convolutions, a map with channels last, a hierarchy of tokens, class and register tokens.
@pytest.mark.parametrize(
    ("name", "side", "grid"),
    [
        ("mobilenetv3_small_050", 96, (3, 3)),
        ("convnext_atto", 64, (2, 2)),
        ("swin_s3_tiny_224", 224, (7, 7)),
        ("efficientformer_l1", 224, (7, 7)),
        ("vit_tiny_patch16_224", 64, (4, 4)),
        ("deit_tiny_distilled_patch16_224", 64, (4, 4)),
    ],
)
def test_features_of_every_kind_become_the_rows_of_a_grid(name, side, grid):
    fixed = {"img_size": side} if "patch16" in name else {}
    backbone = build_backbone(name, fixed).eval()
    layout = feature_layout(backbone, 3, side)
    with torch.inference_mode():
        features = backbone.forward_features(torch.rand(2, 3, side, side))
        tokens = layout.tokens(features)
    assert layout.grid == grid
    assert tokens.shape == (2, grid[0] * grid[1], layout.width)
    # The second token is the second place of the first row.
    if layout.order == "channels first":
        torch.testing.assert_close(tokens[0, 1], features[0, :, 0, 1])
    elif layout.order == "channels last":
        torch.testing.assert_close(tokens[0, 1], features[0, 0, 1])
    else:
        torch.testing.assert_close(tokens[0, 1], features[0, layout.n_prefix + 1])


def test_looking_at_the_layout_leaves_a_backbone_as_it_is():
    backbone = build_backbone("mobilenetv3_small_050", {})
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    feature_layout(backbone, 3, 64)
    assert backbone.training
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, before[key]), key


class Maps(nn.Module):
    def __init__(self, shape, output_fmt="NCHW"):
        super().__init__()
        self.shape, self.output_fmt = shape, output_fmt

    def forward_features(self, images):
        return torch.zeros(len(images), *self.shape)


@pytest.mark.parametrize(
    ("shape", "named", "order"),
    [
        ((8, 4, 4), "NCHW", "channels first"),
        ((8, 4, 4), "NHWC", "channels first"),
        ((4, 4, 8), "NCHW", "channels last"),
        ((4, 4, 4), "NCHW", "channels first"),
        ((4, 4, 4), "NHWC", "channels last"),
    ],
)
def test_the_order_of_a_map_is_read_from_its_shape(shape, named, order):
    assert feature_layout(Maps(shape, named), 1, 32).order == order


def test_features_that_are_no_map_are_refused():
    with pytest.raises(InputError, match=r"of shape \(1, 5, 8\), are no map"):
        feature_layout(Maps((5, 8)), 1, 32)
    with pytest.raises(InputError, match="CoaT of timm gives several maps"):
        feature_layout(build_backbone("coat_tiny", {}), 3, 224)
    with pytest.raises(InputError, match="cannot see images of 60 x 60"):
        feature_layout(build_backbone("swin_s3_tiny_224", {}), 3, 60)


def test_unknown_options_are_named():
    with pytest.raises(InputError, match=r"cannot build 'resnet18' with the options .*depht"):
        build_backbone("resnet18", {"depht": 3})


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_an_encoder_of_any_backbone_embeds_and_learns(name):
    config = backbone_config(name, pretrained=False, image_size=64)
    assert (config.views, config.dim) == (1, 768)
    model = DualChannelEncoder(config)
    vectors = model(torch.rand(3, 1, 150, 150))
    assert vectors.shape == (3, 768)
    (vectors * torch.randn_like(vectors)).sum().backward()
    for part in (model.global_channel.vit, model.global_channel.attention):
        assert sum(float(p.grad.abs().sum()) for p in part.parameters() if p.grad is not None) > 0


def test_a_published_backbone_sees_crops_as_it_saw_its_images():
    config = backbone_config("mobilenetv3_small_050", pretrained=False, image_size=75)
    channel = DualChannelEncoder(config).eval().global_channel
    seen = []
    channel.vit.forward_features = lambda images: seen.append(images) or torch.zeros(2, 1, 1, 1)
    with torch.inference_mode():
        channel.tokens(torch.randn(2, 1, 150, 150))
    (images,) = seen
    assert images.shape == (2, 3, 75, 75)
    mean = torch.tensor(config.global_channel.mean)
    std = torch.tensor(config.global_channel.std)
    rgb = images * std[:, None, None] + mean[:, None, None]
    torch.testing.assert_close(rgb, rgb[:, :1].expand_as(rgb))  # grey
    # As bright as the images were: the average crop is their average grey.
    assert abs(float(rgb.mean() - mean.mean())) < 0.01


NO_STEM = {"stem_widths": (), "stem_strides": (), "stem_blocks": ()}


def test_crops_are_resized_only_if_asked_for():
    images = ImageLike(GlobalConfig(**NO_STEM, image_size=0, mean=(0.5,), std=(0.25,)))
    crops = torch.randn(1, 1, 30, 30)
    torch.testing.assert_close(images(crops), 2 * crops)


def test_images_are_described_as_a_whole_and_only_without_a_stem():
    with pytest.raises(ValidationError, match="as many means"):
        GlobalConfig(**NO_STEM, mean=(0.5,))
    with pytest.raises(ValidationError, match="behind a stem sees no images"):
        GlobalConfig(image_size=224)
    with pytest.raises(ValidationError, match="window of 64 pixels does not fit"):
        EncoderConfig(crop_pixels=48, local_channel=LocalConfig(window=64))


def test_new_options_leave_the_weights_of_models_as_they_were():
    model = DualChannelEncoder(EncoderConfig())
    keys = list(model.state_dict())
    assert "global_channel.vit.blocks.2.mlp.fc2.weight" in keys
    assert not [key for key in keys if "images" in key]
    assert model.global_channel.layout.grid == (10, 10)
    assert model.global_channel.images is None
    # What is drawn from a seed has not moved either.
    torch.manual_seed(0)
    first = DualChannelEncoder(EncoderConfig()).global_channel.head[1].weight
    assert float(first.detach().double().sum()) == pytest.approx(-3.467028953, abs=1e-6)


def test_paper_config_is_a_vit_base_on_the_crop_itself():
    config = paper_config()
    assert config.dim == 768
    assert config.global_channel.vit.startswith("vit_base_patch16")
    assert not config.global_channel.stem_widths
    tiny = config.global_channel.model_copy(
        update={"vit": "vit_tiny_patch16_224", "vit_options": {"patch_size": 16, "depth": 1}}
    )
    model = DualChannelEncoder(config.model_copy(update={"global_channel": tiny})).eval()
    with torch.inference_mode():
        assert model(torch.rand(1, 1, 150, 150)).shape == (1, 768)
