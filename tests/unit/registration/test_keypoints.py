import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import center_of_mass, label

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import DARKEST
from napari_neurobridge.registration.keypoints import LEAST_SIDE, Keypoints, PlanarImage

BLOBS_UM = np.array([[12.3, 20.0], [30.7, 9.1], [41.0, 44.4]])


def blobs(pixel_um: float, side_um: float = 60.0, sigma_um: float = 3.0) -> PlanarImage:
    """Gaussian blobs, each integrated over its pixels by its value at their centres."""
    at = np.arange(0, side_um, pixel_um)
    y, x = at[:, None], at[None]
    bumps = [np.exp(-((y - a) ** 2 + (x - b) ** 2) / (2 * sigma_um**2)) for a, b in BLOBS_UM]
    return PlanarImage.of(np.sum(bumps, axis=0), pixel_um)


def centres_um(image: PlanarImage) -> np.ndarray:
    values = np.where(image.values > 0.05, image.values, 0)
    marks, count = label(values)
    found = np.array(center_of_mass(values, marks, range(1, count + 1)))
    return found[np.argsort(found[:, 0])] * image.pixel_um


def texture(seed: int, shape: tuple[int, int] = (90, 110)) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, size=shape)


@pytest.mark.parametrize(
    ("array", "pixel_um", "message"),
    [
        (np.ones((40, 40, 3)), 1.0, "colour image"),
        (np.ones((5, 40, 40)), 1.0, "3 dimensions"),
        (np.ones(40), 1.0, "1 dimensions"),
        (np.full((40, 40), np.nan), 1.0, "1600 of the image"),
        (np.where(np.eye(40) > 0, np.inf, 0.0), 1.0, "40 of the image's 1600 pixels"),
        (np.full((40, 40), 7), 1.0, "no contrast: every pixel is 7"),
        (np.eye(3), 1.0, "3 x 3 pixels is too small"),
        (np.eye(40), -0.5, "positive µm, not -0.5"),
        (np.eye(40), 0.0, "positive µm"),
        (np.eye(40), np.nan, "positive µm"),
        (np.eye(40) * 1j, 1.0, "real numbers, not complex128"),
    ],
)
def test_what_is_no_image_is_refused_in_one_sentence(array, pixel_um, message):
    with pytest.raises(InputError, match=message) as caught:
        PlanarImage.of(array, pixel_um)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float64, bool])
def test_whole_numbers_are_taken_as_they_are(dtype):
    array = np.eye(40).astype(dtype)
    image = PlanarImage.of(array, 2)
    assert image.values.dtype == np.float32
    np.testing.assert_array_equal(image.values, np.eye(40))
    assert image.size_um == (80.0, 80.0)


@pytest.mark.parametrize("pixel_um", [0.5, 0.7, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("original_um", [0.4, 1.0])
def test_blobs_keep_their_places_when_pixels_change(original_um, pixel_um):
    resampled = blobs(original_um).resampled(pixel_um)
    assert resampled.pixel_um == pixel_um
    np.testing.assert_allclose(centres_um(resampled), BLOBS_UM, atol=0.1)


@given(ratio=st.floats(0.3, 6.0), length=st.integers(120, 200))
def test_a_ramp_stays_a_ramp_from_the_same_first_pixel(ratio: float, length: int):
    ramp = np.add.outer(np.arange(length), 2 * np.arange(length)).astype(float)
    seen = PlanarImage.of(ramp, 1.0).resampled(ratio)
    n = seen.values.shape[0]
    assert (n - 1) * ratio <= length - 1 + 1e-6 < n * ratio + 1e-6
    at = np.arange(n) * ratio
    expected = np.add.outer(at, 2 * at)
    # A window that is cut off by the border is no longer symmetrical.
    inner = (at >= ratio) & (at <= length - 1 - ratio)
    # Sums over whole pixels under a triangle are uneven by this much where it is narrow.
    slack = 0.4 * max(1.0, ratio) if ratio > 1 else 1e-3
    error = np.abs(seen.values - expected)[np.ix_(inner, inner)]
    assert error.max(initial=0) < slack


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_each_pixel_weighs_the_same_in_coarser_ones(factor):
    mean = texture(0, (240, 240))[20:-20, 20:-20]
    shown = np.zeros((240, 240))
    shown[20:-20, 20:-20] = mean
    coarse = PlanarImage.of(shown, 1.0).resampled(factor)
    assert coarse.values.sum() * factor**2 == pytest.approx(shown.sum(), rel=1e-4)


def test_what_is_too_fine_for_coarse_pixels_leaves_no_pattern():
    stripes = np.indices((200, 200)).sum(axis=0) % 2
    coarse = PlanarImage.of(stripes, 1.0).resampled(3.1)
    assert np.ptp(coarse.values[1:-1, 1:-1]) < 0.15


def test_the_same_pixel_size_changes_nothing_and_coarse_ones_are_refused():
    image = blobs(1.0)
    assert image.resampled(1.0) is image
    with pytest.raises(InputError, match="60 x 60 µm is too small for pixels of 5 µm"):
        image.resampled(5)
    with pytest.raises(InputError, match="positive"):
        image.resampled(-1)


@given(gain=st.floats(0.01, 1000), offset=st.floats(-1e4, 1e4))
def test_gain_and_offset_do_not_matter(gain: float, offset: float):
    values = texture(1)
    plain = PlanarImage.of(values, 1.0).standardised()
    changed = PlanarImage.of(gain * (values + offset / 100), 1.0).standardised()
    np.testing.assert_allclose(changed, plain, atol=2e-3)
    assert plain.min() == DARKEST
    assert plain.max() == 1


def test_shading_is_taken_off():
    values = texture(2, (300, 300))
    shade = np.linspace(0.4, 2.0, 300)
    plain = PlanarImage.of(values, 1.0).standardised()
    shaded = PlanarImage.of(values * shade + 5 * shade, 1.0).standardised()

    def agreement(other: np.ndarray) -> float:
        return float(np.corrcoef(plain.ravel(), other.ravel())[0, 1])

    assert agreement(shaded) > 0.98
    assert agreement(values * shade + 5 * shade) < 0.8


def test_standardising_means_the_same_at_any_pixel_size():
    fine = blobs(0.5)
    coarse = fine.resampled(1.0)
    np.testing.assert_allclose(fine.standardised()[::2, ::2], coarse.standardised(), atol=0.06)


def keypoints(n: int = 6) -> Keypoints:
    rng = np.random.default_rng(4)
    return Keypoints(
        rng.uniform(size=(n, 2)),
        np.array([0.2, 0.9, 0.5, 0.9, 0.1, 0.7], np.float32)[:n],
        rng.normal(size=(n, 3)).astype(np.float32),
    )


def test_the_strongest_come_first_and_keep_what_is_theirs():
    points = keypoints()
    best = points.strongest(3)
    np.testing.assert_array_equal(best.positions_um, points.positions_um[[1, 3, 5]])
    np.testing.assert_array_equal(best.descriptors, points.descriptors[[1, 3, 5]])
    assert len(points.strongest(100)) == 6
    np.testing.assert_array_equal(points.take(points.scores > 0.8).scores, best.scores[:2])


def test_keypoints_of_unequal_lengths_are_refused():
    points = keypoints()
    with pytest.raises(InputError, match="6 keypoints need as many scores"):
        Keypoints(points.positions_um, points.scores[:4], points.descriptors)
    with pytest.raises(InputError, match="two or three coordinates"):
        Keypoints(np.zeros((6, 4)), points.scores, points.descriptors)


def test_the_least_image_can_be_standardised():
    assert np.isfinite(PlanarImage.of(np.eye(LEAST_SIDE), 0.1).standardised()).all()


def test_given_points_are_keypoints_without_descriptors():
    points = Keypoints.at([[1, 2, 3], [4, 5, 6]], scores=[0.5, 1.0])
    assert points.descriptors.shape == (2, 0)
    np.testing.assert_array_equal(points.strongest(1).positions_um, [[4, 5, 6]])
    assert (Keypoints.at([[1, 2]]).scores == 1).all()
    assert len(Keypoints.at(np.zeros((0, 3)))) == 0
    with pytest.raises(InputError, match="NaN or infinite coordinates"):
        Keypoints.at([[1, np.nan]])
    with pytest.raises(InputError, match="two or three coordinates"):
        Keypoints.at([1.0, 2.0])
