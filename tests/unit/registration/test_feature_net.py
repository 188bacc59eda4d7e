"""The network that finds somata and describes places."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.current import bundled_model
from napari_neurobridge.models.model_folder import FEATURE_NET
from napari_neurobridge.models.weights import save_network
from napari_neurobridge.registration.feature_net import (
    FeatureNet,
    FeatureNetConfig,
    expected_place,
    load_feature_net,
    node_pixels,
    sample_maps,
)
from napari_neurobridge.registration.feature_points import FeatureExtractor
from napari_neurobridge.registration.keypoints import PlanarImage

SMALL = FeatureNetConfig(width=8, trunk=8, blocks=1, dim=4)


def rings(places: np.ndarray, shape: tuple[int, int], pixel_um: float = 1.0) -> PlanarImage:
    """Draw somata as two-photon microscopes show them: bright rings on a dim, noisy ground."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices(shape) * pixel_um
    values = 0.15 + 0.05 * rng.standard_normal(shape)
    for y, x in places:
        away = np.hypot(rows - y, columns - x)
        values += np.exp(-0.5 * ((away - 4.5) / 1.5) ** 2)
    return PlanarImage.of(values.astype(np.float32), pixel_um)


def grid_of_somata() -> np.ndarray:
    rng = np.random.default_rng(1)
    nodes = np.stack(np.meshgrid(np.arange(25.0, 180, 30), np.arange(25.0, 180, 30)), -1)
    return nodes.reshape(-1, 2) + rng.uniform(-5, 5, (36, 2))


def test_maps_have_a_node_for_each_four_pixels() -> None:
    maps = FeatureNet(SMALL).eval()(torch.rand(2, 32, 48))
    assert maps.descriptors.shape == (2, 4, 8, 12)
    assert maps.soma_logits.shape == maps.partner_logits.shape == (2, 8, 12)
    assert maps.soma_offset.shape == (2, 2, 8, 12)
    torch.testing.assert_close(maps.descriptors.norm(dim=1), torch.ones(2, 8, 12))


@pytest.mark.parametrize("shape", [(1, 30, 32), (32, 32), (1, 1, 32, 32)])
def test_other_shapes_are_refused(shape) -> None:
    with pytest.raises(InputError, match="multiples of 8"):
        FeatureNet(SMALL)(torch.rand(*shape))


def test_maps_are_sampled_where_their_nodes_are() -> None:
    maps = torch.rand(1, 3, 6, 9)
    at = node_pixels(6, 9)
    torch.testing.assert_close(
        sample_maps(maps, at[None])[0], maps[0].flatten(1).T, rtol=1e-4, atol=1e-5
    )
    between = sample_maps(maps, (at[:1] + at[1:2])[None] / 2)[0, 0]
    torch.testing.assert_close(between, maps[0, :, 0, :2].mean(dim=1), rtol=1e-4, atol=1e-5)


def test_a_place_is_refined_to_where_the_similarity_is_and_no_farther_than_its_reach() -> None:
    nodes = node_pixels(20, 20)
    goal = torch.tensor([[33.5, 37.5]])
    similar = -0.5 * torch.cdist(goal, nodes).square()
    torch.testing.assert_close(expected_place(similar, goal + 3, nodes), goal, atol=0.1, rtol=0)
    away = expected_place(similar, goal + 30, nodes)
    assert float((away - goal).norm()) > 25


@pytest.mark.parametrize("pixel_um", [1.0, 0.7])
def test_the_bundled_network_finds_rings_where_they_are(pixel_um) -> None:
    places = grid_of_somata()
    image = rings(places, (round(200 / pixel_um),) * 2, pixel_um)
    extractor = FeatureExtractor(load_feature_net(bundled_model(FEATURE_NET)))
    found = extractor.describe(image).somata(0.3)
    off = np.linalg.norm(places[:, None] - found.positions_um[None], axis=2)
    assert (off.min(axis=1) < 2.5).mean() > 0.9
    assert (off.min(axis=0) < 5).mean() > 0.8
    assert (np.diff(found.scores) <= 0).all()
    points = extractor.extract(image, 60)
    assert len(points) <= 60
    np.testing.assert_allclose(np.linalg.norm(points.descriptors, axis=1), 1, rtol=1e-4)


def test_a_network_is_kept_in_a_folder_and_other_weights_are_refused(tmp_path) -> None:
    net = FeatureNet(SMALL).eval()
    save_network(net, SMALL, tmp_path / "net", half=False)
    image = torch.rand(1, 32, 32)
    torch.testing.assert_close(
        load_feature_net(tmp_path / "net")(image).descriptors, net(image).descriptors
    )
    with pytest.raises(InputError, match="never overwritten"):
        save_network(net, SMALL, tmp_path / "net")
    save_network(net, FeatureNetConfig(width=16), tmp_path / "misfit")
    with pytest.raises(InputError, match="do not fit"):
        load_feature_net(tmp_path / "misfit")


def test_weights_that_the_network_does_not_know_are_refused(tmp_path) -> None:
    net = FeatureNet(SMALL)
    net.register_parameter("unknown", torch.nn.Parameter(torch.zeros(1)))
    save_network(net, SMALL, tmp_path / "net")
    with pytest.raises(InputError, match="do not fit"):
        load_feature_net(tmp_path / "net")
