"""The published matcher of two planes: fusion, LightGlue and the verification of its matches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.current import bundled_model, bundled_verifier
from napari_neurobridge.models.model_folder import FEATURE_NET, SEMANTIC_MATCHER
from napari_neurobridge.models.weights import save_network
from napari_neurobridge.registration.feature_net import load_feature_net
from napari_neurobridge.registration.feature_points import FeatureExtractor
from napari_neurobridge.registration.gccm import load_gccm
from napari_neurobridge.registration.semantic import SemanticFeatures
from napari_neurobridge.registration.semantic_matcher import (
    DescribedPoints,
    SemanticMatcher,
    SemanticMatcherConfig,
    SemanticMatcherNet,
    load_semantic_matcher,
)


@pytest.fixture
def net() -> SemanticMatcherNet:
    torch.manual_seed(0)
    verifier = load_gccm(bundled_verifier(2))
    made = SemanticMatcherNet(SemanticMatcherConfig(layers=2, dim=32, verifier=verifier.config))
    made.gccm.load_state_dict(verifier.state_dict())
    return made.eval()


@pytest.fixture(scope="module")
def frozen() -> tuple[FeatureExtractor, SemanticFeatures]:
    extractor = FeatureExtractor(load_feature_net(bundled_model(FEATURE_NET)))
    return extractor, SemanticFeatures.of_encoder()


def _points(count: int, seed: int = 0) -> DescribedPoints:
    rng = np.random.default_rng(seed)
    local, semantic = (rng.standard_normal((count, size)).astype(np.float32) for size in (64, 192))
    local /= np.linalg.norm(local, axis=1, keepdims=True)
    semantic /= np.linalg.norm(semantic, axis=1, keepdims=True)
    return DescribedPoints(rng.uniform(0, 300, (count, 2)), local, semantic)


def test_matches_are_the_mutual_choices_of_the_last_layer(
    net: SemanticMatcherNet, frozen: tuple[FeatureExtractor, SemanticFeatures]
) -> None:
    source, target = _points(30), _points(40, seed=1)
    matcher = SemanticMatcher(net, *frozen, least_probability=0.0, adaptive=False, verified=False)
    found = matcher.match_described(source, target)
    with torch.inference_mode():
        scores = net(source, target).log_assignment[-1][0, :-1, :-1]
    there, back = scores.argmax(dim=1), scores.argmax(dim=0)
    rows = [row for row in range(30) if back[there[row]] == row]
    np.testing.assert_array_equal(found.source_um, source.positions_um[rows])
    np.testing.assert_array_equal(found.target_um, target.positions_um[there[rows].numpy()])
    np.testing.assert_allclose(
        found.probability, scores[rows, there[rows]].exp().numpy(), rtol=1e-4
    )
    assert found.verified.all()
    assert (found.n_source, found.n_target) == (30, 40)


def test_only_differences_of_places_matter(net: SemanticMatcherNet) -> None:
    source, target = _points(20), _points(25, seed=1)
    moved = replace(source, positions_um=source.positions_um + np.array([5000.0, -300.0]))
    with torch.inference_mode():
        one, other = (net(side, target).log_assignment[-1] for side in (source, moved))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_semantic_features_count_where_they_are_used_and_only_there(
    net: SemanticMatcherNet,
) -> None:
    source, target = _points(20), _points(25, seed=1)
    others = replace(source, semantic=_points(20, seed=2).semantic)
    with torch.inference_mode():
        with_them = [net(side, target).log_assignment[-1] for side in (source, others)]
        without = [net(s, target, semantic=False).log_assignment[-1] for s in (source, others)]
    assert not torch.allclose(with_them[0], with_them[1], atol=1e-4)
    torch.testing.assert_close(without[0], without[1])


def test_the_consistency_module_verifies_what_is_matched(
    net: SemanticMatcherNet,
    frozen: tuple[FeatureExtractor, SemanticFeatures],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Matches are handed in, a third of them wrong, so that only the verification is tried."""
    from napari_neurobridge.registration import semantic_matcher
    from napari_neurobridge.registration.lightglue import AdaptiveMatches

    source = _points(120)
    wrong = np.arange(120) % 3 == 0
    ends = source.positions_um + np.array([40.0, 10.0])
    ends[wrong] = np.random.default_rng(3).uniform(0, 300, (wrong.sum(), 2))
    target = replace(source, positions_um=ends)
    rows = torch.arange(120)[:, None].repeat(1, 2)
    handed = AdaptiveMatches(rows, torch.full((120,), 0.9), 2, (120, 120))
    monkeypatch.setattr(semantic_matcher, "match_adaptively", lambda *_, **__: handed)
    found = SemanticMatcher(net, *frozen).match_described(source, target)
    assert len(found) == 120
    assert found.verified[~wrong].mean() > 0.9
    assert found.verified[wrong].mean() < 0.2
    assert found.inlier_ratio == pytest.approx(2 / 3, abs=0.12)


@pytest.mark.parametrize("counts", [(0, 10), (10, 0), (0, 0), (3, 3)])
def test_too_few_keypoints_are_no_error(
    net: SemanticMatcherNet,
    frozen: tuple[FeatureExtractor, SemanticFeatures],
    counts: tuple[int, int],
) -> None:
    found = SemanticMatcher(net, *frozen).match_described(*(_points(count) for count in counts))
    assert not found.verified.any()
    assert (found.n_source, found.n_target) == counts


def test_a_model_folder_gives_the_same_network(net: SemanticMatcherNet, tmp_path: Path) -> None:
    save_network(net, net.config, tmp_path / "made")
    stored = load_semantic_matcher(tmp_path / "made")
    assert stored.config == net.config
    source, target = _points(20), _points(25, seed=1)
    with torch.inference_mode():
        one, other = (each(source, target).log_assignment[-1] for each in (net, stored))
    torch.testing.assert_close(one, other, rtol=0.02, atol=0.02)  # 16 bits


def test_another_kind_of_model_is_refused() -> None:
    with pytest.raises(InputError, match="semantic-matcher"):
        load_semantic_matcher(bundled_model(FEATURE_NET))


@pytest.mark.slow
def test_the_bundled_network_finds_a_bent_image_again(
    frozen: tuple[FeatureExtractor, SemanticFeatures],
) -> None:
    from napari_neurobridge.registration.keypoints import PlanarImage
    from napari_neurobridge.training.image_tasks import TaskParams, draw_task
    from napari_neurobridge.training.scene_volumes import SceneVolumes

    scene = SceneVolumes.simulate(71, "easy", (40.0, 260.0, 260.0))
    params = TaskParams(size_um=224, shift_um=20.0, angle_deg=15.0, same_side=1.0)
    drawn = draw_task(scene, params, np.random.default_rng(0))
    images = (PlanarImage.of(drawn.source, 1.0), PlanarImage.of(drawn.target, 1.0))
    matcher = SemanticMatcher(load_semantic_matcher(bundled_model(SEMANTIC_MATCHER)), *frozen)
    found = matcher.match(*images)
    kept = found.take(found.verified)
    off = np.linalg.norm(drawn.map_points(kept.source_um) - kept.target_um, axis=1)
    assert len(kept) >= 20
    assert (off <= 5.0).mean() > 0.8
