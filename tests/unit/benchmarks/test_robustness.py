import numpy as np
import pytest
import torch

from napari_neurobridge.benchmarks import robustness, robustness_views
from napari_neurobridge.benchmarks.robustness import (
    PERTURBATIONS,
    Perturbation,
    RobustnessParameters,
    benchmark_robustness,
    perturbed,
)
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.simulation.viewpoints import Viewpoint


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class PixelEncoder:
    """The crop itself as a unit vector."""

    name, hash = "pixels", "0123"

    def embed(self, crops):
        flat = crops.reshape(len(crops), -1) - crops.mean(axis=(1, 2))[:, None]
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)


@pytest.fixture
def spots():
    """Crops with one spot 10 px right of the centre, and one pixel wide soma."""
    crops = np.zeros((3, 51, 51), dtype=np.float32)
    crops[:, 25, 25] = 0.25
    crops[:, 25, 35] = 0.5
    return crops


def brightest(crops):
    flat = crops.reshape(len(crops), -1).argmax(axis=1)
    return np.stack((flat // 51 - 25, flat % 51 - 25), axis=1)


def test_rotation_keeps_the_distance_and_turns_by_the_angle(spots):
    turned = perturbed(spots, Perturbation(kind="rotation", amount=30), seed=1)
    places = brightest(turned)
    np.testing.assert_allclose(np.hypot(*places.T), 10, atol=0.8)
    np.testing.assert_allclose(np.abs(np.degrees(np.arctan2(*places.T))), 30, atol=4)


def test_centring_moves_by_the_distance_in_um(spots):
    moved = perturbed(spots, Perturbation(kind="centring", amount=6), seed=1, pixel_um=0.8)
    distance = np.linalg.norm(brightest(moved) - (0, 10), axis=1)
    np.testing.assert_allclose(distance, 7.5, atol=0.8)


def test_brightness_and_gamma_stay_in_range(spots):
    bright = perturbed(spots, Perturbation(kind="brightness", amount=4), seed=1)
    assert bright.max() == 1
    assert bright[0, 25, 25] == 1
    gamma = perturbed(spots, Perturbation(kind="gamma", amount=2), seed=1)
    np.testing.assert_allclose(gamma[0, 25, [25, 35]], [1 / 16, 1 / 4])


def test_missing_context_spares_the_soma_and_takes_its_part():
    white = np.ones((4, 51, 51), dtype=np.float32)
    half = perturbed(white, Perturbation(kind="context", amount=0.5), seed=1, pixel_um=2.0)
    rows, columns = np.indices((51, 51)) - 25
    soma = np.hypot(rows, columns) <= 6
    assert half[:, soma].all()
    assert half[:, ~soma].mean() == pytest.approx(0.5, abs=0.02)
    alone = perturbed(white, Perturbation(kind="context", amount=1), seed=1, pixel_um=2.0)
    assert not alone[:, ~soma].any()


def test_what_changes_nothing_is_the_crop_itself(spots):
    nothing = {"rotation": 0, "brightness": 1, "gamma": 1, "context": 0, "border": 0}
    for kind, amount in nothing.items():
        assert perturbed(spots, Perturbation(kind=kind, amount=amount), seed=1) is spots


def test_table_starts_with_the_crops_as_they_are_and_relates_the_rest_to_it(monkeypatch):
    crops = np.random.default_rng(0).random((24, 30, 30), dtype=np.float32)
    pairs = PairSet(crops, crops.copy(), np.repeat([0, 1], 12))
    monkeypatch.setattr(robustness, "held_out_pairs", lambda seeds, level: pairs)
    seen = []
    result = benchmark_robustness(
        PixelEncoder(), RobustnessParameters(seeds=(1,)), report=lambda *state: seen.append(state)
    )
    assert len(result.results) == len(PERTURBATIONS) == len(seen)
    first, *rest = result.results
    assert (first.kind, first.topk["1"], first.kept) == ("none", 1.0, 1.0)
    by_change = {(row.kind, row.amount): row.topk["1"] for row in rest}
    # Pixels forgive another gamma, and no other place.
    assert by_change["gamma", 0.7] == 1
    assert by_change["centring", 6.0] < 0.6
    (line,) = [line for line in result.summary().splitlines() if "6.000" in line]
    assert line.split()[0] == "centring"


def test_without_scenes_it_says_so():
    with pytest.raises(InputError, match="at least one seed"):
        benchmark_robustness(PixelEncoder(), RobustnessParameters(seeds=()))


def test_a_scene_imaged_from_elsewhere_is_ranked_for_each_view(monkeypatch):
    asked = []
    crops = np.random.default_rng(0).random((9, 30, 30), dtype=np.float32)

    def simulate(difficulty, cells, seed, views, *, tell):
        asked.append((cells, seed, [(v.angle_deg, v.tilt_deg, v.depth_um) for v in views]))
        for index in range(len(views)):
            tell(index)
        # Only from where it was seen before, the scene is known.
        return crops, [crops if view == Viewpoint() else crops[::-1] for view in views]

    monkeypatch.setattr(robustness_views, "crops_from", simulate)
    said = []
    result = benchmark_robustness(
        PixelEncoder(),
        RobustnessParameters(seeds=(3, 4), rendered=True),
        report=lambda *each: said.append(each),
    )
    assert [(cells, seed) for cells, seed, _ in asked] == [(53, 3), (53, 4)]
    assert asked[0][2][1:5] == [(15, 0, 0), (30, 0, 0), (0, 10, 0), (0, 0, 10)]
    assert asked[1][2][1:5] == [(-15, 0, 0), (-30, 0, 0), (0, -10, 0), (0, 0, -10)]
    first, *rest = result.results
    assert (first.kind, first.topk["1"], first.kept, result.n_queries) == ("none", 1.0, 1.0, 18)
    # Of nine in reverse, the one in the middle is where it was.
    assert all(row.topk["1"] == pytest.approx(1 / 9) for row in rest)
    assert {("axial scale", 0.8), ("axial scale", 1.25)} < {(r.kind, r.amount) for r in rest}
    assert said[-1][:2] == (13, 14)


def test_a_border_takes_its_part_of_the_width_and_stretches_the_rest():
    rng = np.random.default_rng(0)
    crops = rng.uniform(0.2, 0.6, (12, 40, 40)).astype(np.float32)
    cut = perturbed(crops, Perturbation(kind="border", amount=0.25), seed=3)
    assert (crops >= 0.2).all()  # what is given is left as it is
    sides = set()
    for crop in cut:
        lost = [(np.rot90(crop, side)[:10] == 0).all() for side in range(4)]
        sides.add(lost.index(True))
        assert (crop == 0).mean() == 0.25
        assert crop.max() == 1
    assert sides == {0, 1, 2, 3}
