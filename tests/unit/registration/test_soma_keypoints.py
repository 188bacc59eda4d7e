import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial import KDTree

from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.registration.soma_keypoints import SomaExtractor

CENTRES_UM = np.array([[25.0, 30.0], [60.5, 92.0], [110.0, 41.0], [131.0, 130.5]])


def somata(pixel_um: float, centres_um: np.ndarray = CENTRES_UM) -> PlanarImage:
    """Discs of the usual diameter, one dimmer than the other, in noise."""
    at = np.arange(0, 160, pixel_um)
    y, x = at[:, None, None], at[None, :, None]
    away = np.hypot(y - centres_um[:, 0], x - centres_um[:, 1])
    bright = np.linspace(1, 0.6, len(centres_um)) / (1 + np.exp((away - 7) / 0.5))
    noise = np.random.default_rng(0).normal(scale=0.05, size=(len(at), len(at)))
    return PlanarImage.of(bright.sum(axis=2) + noise, pixel_um)


class Places:
    """Describes a place by itself."""

    name = "places"

    def describe(
        self, image: PlanarImage, points_um: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float32]:
        return (points_um / image.size_um).astype(np.float32)


@pytest.mark.parametrize("pixel_um", [0.5, 1.0, 2.0])
def test_somata_are_found_where_they_are_at_any_pixel_size(pixel_um: float):
    found = SomaExtractor().extract(somata(pixel_um), 100)
    assert len(found) == len(CENTRES_UM)
    away, which = KDTree(found.positions_um).query(CENTRES_UM)
    assert away.max() < 1.0
    assert len(set(which)) == len(CENTRES_UM)
    assert found.descriptors.shape == (len(CENTRES_UM), 0)
    assert ((found.scores > 0.5) & (found.scores <= 1)).all()


def test_the_surest_come_first_and_no_more_than_asked_for():
    image = somata(1.0)
    every = SomaExtractor().extract(image, 100)
    assert (np.diff(every.scores) <= 0).all()
    few = SomaExtractor().extract(image, 2)
    np.testing.assert_array_equal(few.positions_um, every.positions_um[:2])


def test_a_describer_describes_the_places_found():
    image = somata(1.0)
    found = SomaExtractor(Places()).extract(image, 3)
    np.testing.assert_allclose(found.descriptors, found.positions_um / 160, rtol=1e-6)
    assert SomaExtractor(Places()).name == "somata + places"
    assert SomaExtractor().name == "somata"


def test_an_image_without_somata_gives_none():
    noise = np.random.default_rng(1).normal(size=(100, 100))
    found = SomaExtractor(Places()).extract(PlanarImage.of(noise, 1.0), 100)
    assert len(found) <= 1
    assert found.descriptors.shape == (len(found), 2)
