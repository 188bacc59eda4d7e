import numpy as np
import pytest
import torch

from napari_neurobridge.encoder.backbone import conv_stages
from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
from napari_neurobridge.encoder.global_channel import GlobalConfig
from napari_neurobridge.insight.places import place_global, place_local, spread


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def centroid(image):
    rows, columns = np.indices(image.shape)
    return np.array([(rows * image).sum(), (columns * image).sum()]) / image.sum()


def test_spread_puts_values_on_their_centres_and_lines_between():
    field = np.array([[0, 1], [2, 3]], np.float32)
    image = spread(field, pixels=9, first=2, spacing=4)
    assert image[2, 2] == 0
    assert image[2, 6] == 1
    assert image[6, 2] == 2
    assert image[4, 4] == pytest.approx(1.5)
    assert image[8, 8] == 3


def test_a_place_of_the_local_map_lies_where_the_convolutions_look():
    """The gradient of one place of the map is centred on the pixels that it is laid over."""
    config = EncoderConfig()
    torch.manual_seed(0)
    local = config.local_channel
    stages = conv_stages(local.widths, local.strides, (0, 0, 0)).eval()
    for module in stages.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.constant_(module.weight, 0.01)
    pixels = config.crop_pixels
    window = torch.rand(1, 1, local.window, local.window, requires_grad=True)
    stages(window)[0, :, 3, 4].sum().backward()
    seen = np.zeros((pixels, pixels))
    top = (pixels - local.window) // 2
    seen[top : top + local.window, top : top + local.window] = window.grad[0, 0].abs().numpy()
    field = np.zeros((8, 8), np.float32)
    field[3, 4] = 1
    np.testing.assert_allclose(centroid(place_local(field, config)), centroid(seen), atol=0.5)


def test_the_local_map_is_dark_outside_the_soma_window():
    crop = place_local(np.ones((8, 8), np.float32), EncoderConfig())
    inside = np.zeros_like(crop, dtype=bool)
    inside[43:107, 43:107] = True
    assert (crop[inside] == 1).all()
    assert (crop[~inside] == 0).all()


@pytest.mark.parametrize("stem", [True, False], ids=["stem", "bare"])
def test_a_token_lies_over_the_patch_that_it_is_made_of(stem):
    options = {
        "patch_size": 2,
        "embed_dim": 8,
        "depth": 1,
        "num_heads": 1,
        "class_token": False,
        "global_pool": "",
    }
    stages = {"stem_widths": (4,), "stem_strides": (4,), "stem_blocks": (0,)}
    bare = {"stem_widths": (), "stem_strides": (), "stem_blocks": ()}
    config = EncoderConfig(
        crop_pixels=64,
        dim=8,
        views=1,
        global_channel=GlobalConfig(
            **(stages if stem else bare),
            vit_options=options if stem else {**options, "patch_size": 16},
        ),
    )
    model = DualChannelEncoder(config).eval()
    if stem:
        torch.nn.init.constant_(model.global_channel.stem[0][0].weight, 0.01)
    rows, columns = model.global_channel.layout.grid
    field = np.zeros((rows, columns), np.float32)
    field[1, 2] = 1
    # The patch embedding comes before tokens mix, so it sees its own pixels only.
    crops = torch.rand(1, 1, 64, 64, requires_grad=True)
    embedded = model.global_channel.vit.patch_embed(model.global_channel.stem(crops))
    tokens = embedded.reshape(1, rows, columns, -1)
    tokens[0, 1, 2].sum().backward()
    seen = crops.grad[0, 0].abs().numpy() > 0
    np.testing.assert_allclose(centroid(place_global(field, model)), centroid(seen), atol=0.6)
