"""Fields looked for in simulated brains, drawn and imaged."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_neurobridge.benchmarks import localisation
from napari_neurobridge.benchmarks.localisation_brains import FIELD_UM, FieldSite, SimulatedBrain
from napari_neurobridge.benchmarks.localisation_images import ImagedBrain
from napari_neurobridge.spaces.affine import Affine

SMALL = (60.0, 600.0, 600.0)


def on_cells(points_um: np.ndarray, cells_um: np.ndarray, reach_um: float) -> float:
    """Return how many points have a cell near them in the plane, and within 15 µm of depth."""
    away = (points_um[:, None] - cells_um) / (15.0, reach_um, reach_um)
    return float((np.linalg.norm(away, axis=2).min(axis=1) <= 1).mean())


@pytest.mark.slow
def test_an_imaged_brain_shows_its_own_somata(tmp_path) -> None:
    brain = ImagedBrain("easy", 7, tmp_path, SMALL)
    truth = brain.scene.truth()
    shown = truth.fmost_um[truth.in_fmost]
    assert on_cells(brain.gallery_um, shown, 15.0) > 0.7
    assert 0.6 < len(brain.gallery_um) / len(shown) < 1.4
    site = brain.draw_site("plane")
    assert site.image is not None
    assert site.image.values.shape == (int(FIELD_UM), int(FIELD_UM))
    assert not site.somata_um[:, 0].any()
    cells = truth.two_photon_um[truth.in_two_photon]
    assert on_cells(site.in_tissue(site.somata_um), cells, 4.0) > 0.7
    # Turned any other way, the same somata lie on cells by chance only.
    askew = FieldSite(site.somata_um, site.low_um, site.turn @ [[0.0, -1.0], [1.0, 0.0]])
    assert on_cells(askew.in_tissue(site.somata_um), cells, 4.0) < 0.5
    again = ImagedBrain("easy", 7, tmp_path, SMALL)
    np.testing.assert_array_equal(again.gallery_um, brain.gallery_um)


def test_the_error_of_a_map_is_its_distance_from_the_truth() -> None:
    brain = SimulatedBrain("easy", 3, (60.0, 450.0, 450.0))
    site = FieldSite(np.zeros((1, 3)), np.array([30.0, 10.0, 20.0]), np.eye(2))
    base = brain.scene.transform

    class Off:
        def map_points(self, points):
            return base.map_points(site.in_tissue(points)) + np.array([0.0, 3.0, 4.0])

    found = SimpleNamespace(choice=SimpleNamespace(transform=Off()), source_um=site.somata_um)
    assert brain.error_um(site, found) == pytest.approx(5.0)
    assert brain.error_um(site, SimpleNamespace(choice=None)) is None


@pytest.mark.parametrize("imaged", [False, True])
def test_related_fields_and_those_of_another_brain_are_told_apart(
    monkeypatch, tmp_path, imaged: bool
) -> None:
    asked: list[tuple[int, int]] = []

    class Brain:
        orientation = Affine.from_linear(np.eye(3), np.zeros(3), source="a", target="b").linear
        detection_s = 12.0

        def __init__(self, level: str, seed: int, *cache, report=None) -> None:
            assert bool(cache) is imaged
            self.seed, self.gallery_um = seed, np.full((5, 3), float(seed))

        def draw_site(self, kind: str) -> FieldSite:
            return FieldSite(np.full((5, 3), float(self.seed)), np.zeros(3), np.eye(2), None, 1.5)

        def judge(self, site) -> None:
            return None

        def error_um(self, site, found) -> float:
            return 2.0

    def localise(source_um, target_um, *, orientation, judge):
        asked.append((int(source_um[0, 0]), int(target_um[0, 0])))
        right = source_um[0, 0] == target_um[0, 0]
        return SimpleNamespace(
            decision=SimpleNamespace(accepted=bool(right)),
            evidence=SimpleNamespace(margin=2.0, n_source=5, n_verified=4),
            seconds=3.0,
        )

    monkeypatch.setattr(localisation, "SimulatedBrain", Brain)
    monkeypatch.setattr("napari_neurobridge.benchmarks.localisation_images.ImagedBrain", Brain)
    monkeypatch.setattr(localisation, "localise", localise)
    found = localisation.run(
        localisation.LocalisationParameters(
            volumes=2, sites=2, unrelated=1, seed=40, imaged=imaged, cache=tmp_path
        )
    )
    assert asked == [(40, 40), (40, 40), (42, 40), (41, 41), (41, 41), (40, 41)]
    assert (found.right, found.wrong, found.refused_unrelated) == (1.0, 0, 1.0)
    assert found.median_error_um == 2.0
    assert found.longest_s == 4.5
    assert found.detection_s == (12.0 if imaged else None)
    assert "100% right" in found.summary()
