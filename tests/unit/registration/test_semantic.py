import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates

from napari_neurobridge.encoder.dual_channel import (
    DualChannelEncoder,
    EncoderConfig,
    backbone_config,
)
from napari_neurobridge.encoder.embed import Encoder, save_model
from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.crops import normalize_crops
from napari_neurobridge.models.current import bundled_model
from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.registration.semantic import FeatureMap, SemanticFeatures

STRIDE_UM = 64.0


@pytest.fixture(scope="module")
def bundled() -> SemanticFeatures:
    return SemanticFeatures.of_encoder()


@pytest.fixture(scope="module")
def vit() -> SemanticFeatures:
    return SemanticFeatures.of_backbone("vit_tiny_patch16_224", pretrained=False, window=64)


def cells(height: int, width: int, pixel_um: float, seed: int = 0) -> np.ndarray:
    """Bright discs on a smooth background."""
    rng = np.random.default_rng(seed)
    points = np.zeros((height, width))
    count = int(height * width * pixel_um**2 / 800)
    points[rng.integers(0, height, count), rng.integers(0, width, count)] = rng.gamma(3, size=count)
    haze = gaussian_filter(rng.normal(size=(height, width)), 10 / pixel_um)
    return gaussian_filter(points, 4 / pixel_um) + 0.02 * haze / haze.std()


def correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Pearson's r over the components at each place."""
    first, second = (side - side.mean(axis=0) for side in (first, second))
    norms = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
    return (first * second).sum(axis=0) / norms


@given(
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    origin=st.floats(-3, 5),
    step=st.floats(0.5, 20),
    seed=st.integers(0, 99),
)
def test_sampling_agrees_with_scipy(height, width, origin, step, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(3, height, width)).astype(np.float32)
    points = origin + step * rng.uniform(-1.5, 8.5, size=(20, 2))
    at = ((points - origin) / step).T
    expected = [map_coordinates(one, at, order=1, mode="nearest") for one in values]
    sampled = FeatureMap(values, origin, step).sample(points)
    np.testing.assert_allclose(sampled, np.transpose(expected), atol=2e-4)


def test_sampling_wants_finite_points_of_a_plane():
    features = FeatureMap(np.zeros((2, 3, 3), np.float32), 0.0, 1.0)
    with pytest.raises(InputError, match=r"shape \(N, 2\) in \(y, x\), not \(4, 3\)"):
        features.sample(np.zeros((4, 3)))
    with pytest.raises(InputError, match="NaN"):
        features.sample([[0.0, np.nan]])
    assert features.sample(np.zeros((0, 2))).shape == (0, 2)


def test_the_only_window_gives_the_tokens_of_a_crop(bundled: SemanticFeatures):
    encoder = Encoder.load(bundled_model())
    crop = cells(150, 150, 0.8)
    seen = normalize_crops(crop)[None]
    found = bundled.map(PlanarImage.of(crop, 0.8))
    assert found.values.shape == (192, 10, 10)
    assert found.step_um == pytest.approx(12.8)
    # The last map of the trunk is what the encoder pools.
    pooled = encoder.trunk_features(seen, precision="float32")[0, -192:]
    np.testing.assert_allclose(found.values.max(axis=(1, 2)), pooled, atol=1e-3)


def test_tokens_lie_where_a_change_of_the_image_is_felt_most(bundled: SemanticFeatures):
    image = cells(150, 150, 0.8)
    before = bundled.map(PlanarImage.of(image, 0.8))
    changed = []
    for row, column in ((3, 3), (4, 6), (6, 5)):
        y, x = (round((before.origin_um + k * before.step_um) / 0.8) for k in (row, column))
        other = image.copy()
        other[y - 1 : y + 2, x - 1 : x + 2] += 3 * image.max()
        felt = np.linalg.norm(
            bundled.map(PlanarImage.of(other, 0.8)).values - before.values, axis=0
        )
        changed.append(np.unravel_index(felt.argmax(), felt.shape) == (row, column))
    assert all(changed)


def test_features_move_with_the_image_by_one_stride(bundled: SemanticFeatures):
    pixels = round(STRIDE_UM / 0.8)
    scene = cells(500, 500, 0.8, seed=1)
    whole = bundled.map(PlanarImage.of(scene, 0.8))
    moved = bundled.map(PlanarImage.of(scene[pixels:, pixels:], 0.8))
    points = np.stack(np.meshgrid(*[np.linspace(130, 260, 12)] * 2), axis=-1).reshape(-1, 2)
    here, there = whole.sample(points), moved.sample(points - STRIDE_UM)
    assert (correlations(here.T, there.T) > 0.95).mean() > 0.99
    assert (correlations(here.T, np.roll(there, 40, axis=0).T)).mean() < 0.9


def test_other_moves_are_followed_too_though_windows_differ(bundled: SemanticFeatures):
    scene = cells(500, 500, 0.8, seed=1)
    whole = bundled.map(PlanarImage.of(scene, 0.8))
    moved = bundled.map(PlanarImage.of(scene[33:, 55:], 0.8))
    points = np.random.default_rng(0).uniform(130, 260, size=(100, 2))
    there = moved.sample(points - np.array([33, 55]) * 0.8)
    assert np.median(correlations(whole.sample(points).T, there.T)) > 0.7


@pytest.mark.parametrize("side_um", [20.0, 119.0, 121.0, 190.0])
def test_images_of_any_size_are_covered_to_their_borders(bundled: SemanticFeatures, side_um):
    pixels = int(side_um / 0.8)
    found = bundled.map(PlanarImage.of(cells(pixels, pixels + 60, 0.8), 0.8))
    assert np.isfinite(found.values).all()
    end = found.origin_um + (np.array(found.values.shape[1:]) - 1) * found.step_um
    assert (end <= np.array([pixels - 1, pixels + 59]) * 0.8 + 1e-6).all()
    assert (end > np.array([pixels - 1, pixels + 59]) * 0.8 - 12.8 - 1e-6).all()


def test_gain_and_offset_do_not_matter(bundled: SemanticFeatures):
    image = cells(200, 200, 0.8)
    plain = bundled.map(PlanarImage.of(image, 0.8))
    changed = bundled.map(PlanarImage.of(40 * image + 300, 0.8))
    np.testing.assert_allclose(changed.values, plain.values, atol=0.05)


def test_a_transformer_of_timm_is_seen_through_windows(vit: SemanticFeatures):
    image = PlanarImage.of(cells(120, 100, 2.0), 2.0)
    found = vit.map(image)
    assert found.values.shape == (192, 15, 12)
    assert (found.origin_um, found.step_um) == (7.5, 16.0)
    once = vit.map(PlanarImage.of(cells(64, 64, 1.0), 1.0))
    assert once.values.shape == (192, 4, 4)


@pytest.mark.parametrize("name", ["vit_small_patch16_dinov3", "vit_tiny_patch16_224"])
def test_families_of_transformers_have_maps(name: str):
    features = SemanticFeatures.of_backbone(name, pretrained=False, window=48)
    found = features.map(PlanarImage.of(cells(60, 60, 1.0), 1.0))
    assert found.values.shape[1:] == (4, 4)
    assert np.isfinite(found.values).all()


def test_descriptors_are_unit_vectors_without_what_all_places_share(bundled: SemanticFeatures):
    image = PlanarImage.of(cells(300, 300, 0.8), 0.8)
    features = bundled.map(image)
    everywhere = np.stack(np.meshgrid(*[np.arange(k) for k in features.values.shape[1:]]))
    points = everywhere.reshape(2, -1).T * features.step_um + features.origin_um
    described = bundled.describe(image, points)
    np.testing.assert_allclose(np.linalg.norm(described, axis=1), 1, rtol=1e-5)
    plain = features.sample(points)
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    assert abs((described @ described.T).mean()) < 0.1 * (plain @ plain.T).mean()


def test_it_can_be_cancelled_and_says_how_far_it_is(bundled: SemanticFeatures):
    image = PlanarImage.of(cells(600, 300, 0.8), 0.8)
    seen = []
    bundled.map(image, report=lambda done, total, text: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]
    assert len(seen) > 1

    def stop(done: int, total: int, text: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        bundled.map(image, report=stop)


def test_what_has_no_patches_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not cut images of 64 pixels into patches"):
        SemanticFeatures.of_backbone("resnet18", pretrained=False, window=64)
    with pytest.raises(InputError, match="knows no model"):
        SemanticFeatures.of_backbone("vit_of_nobody", pretrained=False)
    local = DualChannelEncoder(EncoderConfig(name="small", channels="local"))
    save_model(local, tmp_path / "small")
    with pytest.raises(InputError, match="small has no trained global channel"):
        SemanticFeatures.of_encoder(tmp_path / "small")


def test_an_encoder_that_resizes_crops_sees_windows_of_its_own_size(tmp_path):
    config = backbone_config("vit_tiny_patch16_224", pretrained=False, image_size=96)
    save_model(DualChannelEncoder(config), tmp_path / "resizing")
    features = SemanticFeatures.of_encoder(tmp_path / "resizing")
    assert (features.window, features.pixel_um) == (96, 1.25)
    assert features.map(PlanarImage.of(cells(96, 96, 1.25), 1.25)).step_um == 20.0
