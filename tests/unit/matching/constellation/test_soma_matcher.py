"""Images matched by the pattern of their somata, and registered by it or refused."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.matching.constellation import soma_matcher
from napari_neurobridge.matching.constellation.soma_matcher import SomaMatcher
from napari_neurobridge.models.current import bundled_verifier
from napari_neurobridge.registration.feature_points import DescribedImage
from napari_neurobridge.registration.gccm import load_gccm
from napari_neurobridge.registration.image_registration import angles_around, register_planes
from napari_neurobridge.registration.keypoints import Keypoints, PlanarImage

SIZE = 300.0


class Listed:
    """Stands for a described image: its somata are a list."""

    def __init__(self, places: np.ndarray) -> None:
        self.places = places

    def somata(self, least_probability: float) -> Keypoints:
        return Keypoints.at(self.places, scores=np.full(len(self.places), 0.9, np.float32))


class ListedExtractor:
    """Describes an image by the somata that were listed for it."""

    def __init__(self, *known: tuple[PlanarImage, np.ndarray]) -> None:
        self.known = {image.values.tobytes(): places for image, places in known}

    def describe(self, image: PlanarImage) -> DescribedImage:
        return Listed(self.known[image.values.tobytes()])  # type: ignore[return-value]


def blank(seed: int) -> PlanarImage:
    """Return an image that nobody looks at."""
    return PlanarImage.of(np.random.default_rng(seed).random((300, 300)).astype(np.float32), 1.0)


def turned(points: np.ndarray, angle_deg: float, *, mirrored: bool = False) -> np.ndarray:
    angle = np.deg2rad(angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (points - SIZE / 2) @ turn.T
    moved = moved * np.array([1, -1]) if mirrored else moved
    return moved + SIZE / 2 + 3 * np.sin(points[:, ::-1] / 60)


def sides(angle_deg: float, *, mirrored: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return somata of which some are seen on one side only, 1 µm exact."""
    rng = np.random.default_rng(0)
    tissue = rng.uniform(30, SIZE - 30, (110, 2))
    source = tissue[:80] + rng.normal(0, 0.7, (80, 2))
    target = turned(tissue[15:], angle_deg, mirrored=mirrored) + rng.normal(0, 0.7, (95, 2))
    return source, target


def matcher(source: np.ndarray, target: np.ndarray) -> tuple[SomaMatcher, PlanarImage, PlanarImage]:
    images = blank(1), blank(2)
    extractor = ListedExtractor((images[0], source), (images[1], target))
    return SomaMatcher(extractor, load_gccm(bundled_verifier(2))), *images  # type: ignore[arg-type]


@pytest.mark.parametrize("angle", [15.0, 130.0])
def test_the_pattern_is_found_at_any_angle_and_registered(angle) -> None:
    source, target = sides(angle)
    found = register_planes(*_swapped(matcher(source, target)))
    assert found.decision.accepted, found.decision.reason
    assert abs((found.evidence.angle_deg - angle + 180) % 360 - 180) < 3
    kept = found.matches.source_um[found.agreeing]
    off = np.linalg.norm(turned(kept, angle) - found.matches.target_um[found.agreeing], axis=1)
    assert (off < 5).mean() > 0.95
    # More is matched near the map than the pattern had, and none of that is called evidence.
    assert found.evidence.n_agreeing <= found.evidence.n_initial <= len(source)


def test_a_mirrored_image_is_recognised_and_refused() -> None:
    found = register_planes(*_swapped(matcher(*sides(40.0, mirrored=True))))
    assert not found.decision.accepted
    assert found.decision.failed[0] == "turned_over"
    assert "mirrored" in found.decision.reason


def test_an_angle_that_was_excluded_is_refused() -> None:
    engine, first, second = matcher(*sides(170.0))
    found = register_planes(first, second, engine, angles=angles_around(0.0, 30.0))
    assert not found.decision.accepted
    assert "turned by" in found.decision.reason


def test_unrelated_somata_are_refused() -> None:
    source, _ = sides(0.0)
    other = np.random.default_rng(9).uniform(30, SIZE - 30, (95, 2))
    found = register_planes(*_swapped(matcher(source, other)))
    assert not found.decision.accepted
    assert found.transform is None


@pytest.mark.parametrize("count", [0, 3])
def test_hardly_any_somata_are_refused(count) -> None:
    source, target = sides(0.0)
    found = register_planes(*_swapped(matcher(source[:count], target)))
    assert not found.decision.accepted


def _swapped(
    parts: tuple[SomaMatcher, PlanarImage, PlanarImage],
) -> tuple[PlanarImage, PlanarImage, SomaMatcher]:
    engine, first, second = parts
    return first, second, engine


class Seen:
    """Judges pairs of somata by where they truly lie, right nine times out of ten."""

    def __init__(self, angle_deg: float, stretch: np.ndarray) -> None:
        self.angle_deg, self.stretch = angle_deg, stretch

    def __call__(self, source_um: np.ndarray, target_um: np.ndarray) -> np.ndarray:
        true = stretched(turned(source_um, self.angle_deg), self.stretch)
        right = np.linalg.norm(true - target_um, axis=1) < 4
        mistaken = np.floor(source_um.sum(axis=1)) % 10 == 0
        return np.where(right ^ mistaken, 2.5, -2.5)


def stretched(points: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    return (points - SIZE / 2) @ stretch + SIZE / 2


@pytest.mark.slow
@pytest.mark.parametrize("along", [20.0, 75.0])
def test_tissue_that_is_stretched_along_one_direction_is_found(along: float) -> None:
    angle = np.deg2rad(along)
    axis = np.array([np.cos(angle), np.sin(angle)])
    stretch = 0.75 * (np.eye(2) + 0.75 * np.outer(axis, axis))
    source, target = sides(60.0)
    made, *images = matcher(source, stretched(target, stretch))
    # It is not judged by looks, and so neither stretched nor found.
    assert len(made.match(*images)) == 0
    made._judge = lambda *_: Seen(60.0, stretch)  # type: ignore[method-assign,assignment,return-value]
    found = made.match(*images)
    true = stretched(turned(found.source_um, 60.0), stretch)
    assert len(found) >= 30
    assert (np.linalg.norm(true - found.target_um, axis=1) < 4).mean() > 0.9


@pytest.mark.slow
def test_no_stretch_makes_unrelated_images_one() -> None:
    rng = np.random.default_rng(5)
    made, *images = matcher(*(rng.uniform(20, SIZE - 20, (90, 2)) for _ in range(2)))
    made._judge = lambda *_: Seen(60.0, np.eye(2))  # type: ignore[method-assign,assignment,return-value]
    assert len(made.match(*images)) == 0


@pytest.mark.slow
def test_where_no_map_is_clear_the_best_are_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much evidence is asked of a map by itself, its growth is found again."""
    source, target = sides(60.0)
    made, *images = matcher(source, target)
    made._judge = lambda *_: Seen(60.0, np.eye(2))  # type: ignore[method-assign,assignment,return-value]
    monkeypatch.setattr(soma_matcher, "_is_clear", lambda *_: False)
    found = made.match(*images)
    assert found.margin is not None
    assert found.margin > 1.5
    assert len(found) >= 55
    true = turned(found.source_um, 60.0)
    assert (np.linalg.norm(true - found.target_um, axis=1) < 4).mean() > 0.9
    # What the somata look like is needed: chance has too much evidence by place alone.
    made._judge = lambda *_: None  # type: ignore[method-assign,assignment]
    assert len(made.match(*images)) == 0
