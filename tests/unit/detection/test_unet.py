"""The segmenter's network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_neurobridge.detection.unet import SegmenterConfig, SegmenterNet, load_segmenter
from napari_neurobridge.detection.watershed import WatershedParams
from napari_neurobridge.errors import InputError
from napari_neurobridge.models.current import bundled_model
from napari_neurobridge.models.model_folder import FEATURE_NET
from napari_neurobridge.models.weights import save_network

SMALL = SegmenterConfig(width=4, halvings=2, planes=3)


def test_each_pixel_of_the_middle_plane_is_judged() -> None:
    assert SegmenterNet(SMALL)(torch.rand(2, 3, 16, 24)).shape == (2, 16, 24)


@pytest.mark.parametrize("shape", [(1, 3, 18, 16), (1, 1, 16, 16), (3, 16, 16)])
def test_other_shapes_are_refused(shape) -> None:
    with pytest.raises(InputError, match="3 planes whose sides are multiples of 4"):
        SegmenterNet(SMALL)(torch.rand(*shape))


def test_an_even_number_of_planes_has_no_middle() -> None:
    with pytest.raises(ValueError, match="odd"):
        SegmenterConfig(planes=4)


@pytest.mark.parametrize("halvings", [1, 2, 3])
def test_no_pixel_beyond_the_margin_has_a_say(halvings: int) -> None:
    net = SegmenterNet(SegmenterConfig(width=2, halvings=halvings, planes=1)).double().eval()
    margin, step = net.config.margin_px, net.config.multiple
    side = 2 * margin + 4 * step
    image = torch.rand(1, 1, side, side, dtype=torch.float64)
    changed = image.clone()
    changed[:, :, :, :step] += 1
    differs = (net(image) - net(changed)).abs().amax(dim=(0, 1)) > 0
    assert not differs[step + margin :].any()
    assert margin % step == 0


def test_dropout_makes_several_passes_differ_and_is_off_in_evaluation() -> None:
    torch.manual_seed(0)
    net = SegmenterNet(SMALL.model_copy(update={"dropout": 0.5})).eval()
    image = torch.rand(1, 3, 16, 16)
    assert torch.equal(net(image), net(image))
    for layer in net.modules():
        if isinstance(layer, nn.Dropout2d):
            layer.train()
    assert not torch.equal(net(image), net(image))


def test_without_dropout_there_is_no_such_layer() -> None:
    net = SegmenterNet(SMALL.model_copy(update={"dropout": 0.0}))
    assert not any(isinstance(layer, nn.Dropout2d) for layer in net.modules())


def test_a_folder_holds_network_and_watershed(tmp_path) -> None:
    config = SMALL.model_copy(update={"watershed": WatershedParams(seed=0.37)})
    torch.manual_seed(0)
    net = SegmenterNet(config).eval()
    save_network(net, config, tmp_path / "net", half=False)
    read = load_segmenter(tmp_path / "net")
    image = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(read(image), net(image))
    assert read.config == config
    with pytest.raises(InputError, match="not 'segmenter'"):
        load_segmenter(bundled_model(FEATURE_NET))
