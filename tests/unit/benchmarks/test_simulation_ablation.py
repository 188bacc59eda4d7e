import numpy as np
import pytest
import torch

from napari_neurobridge.benchmarks import simulation_ablation
from napari_neurobridge.benchmarks.ablation_geometry import CropMotion
from napari_neurobridge.benchmarks.real_pairs import RealPairs
from napari_neurobridge.benchmarks.simulation_ablation import (
    ABLATIONS,
    CONTROL,
    FULL,
    SMALL_ENCODER,
    AblationRequest,
    at_size,
    benchmark_ablation,
    training_scenes,
)
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.simulation.deformation.tears import draw_tears
from napari_neurobridge.simulation.deformation.window import draw_window
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.levels import level
from napari_neurobridge.simulation.pairs import Block, BlockKeys, simulate_pairs
from napari_neurobridge.simulation.tissue.vasculature import grow_vessels

LOW, HIGH = (0.0, 0.0, 0.0), (200.0, 400.0, 400.0)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def simulated(monkeypatch):
    """Noise in place of simulation; returns what was asked for."""
    asked = []
    numbers = [BlockKeys.of(5000, number) for number in range(4)]

    def simulate(difficulty, cells, keys, device, *, check):
        asked.append((difficulty.digest(), cells, keys))
        pairs = noise(6, seed=numbers.index(keys))
        return Block(pairs.two_photon, pairs.fmost, np.zeros((6, 3)))

    monkeypatch.setattr(simulation_ablation, "simulate_block", simulate)
    monkeypatch.setattr(
        simulation_ablation, "held_out_pairs", lambda seeds, level: noise(12, seed=9)
    )
    still = CropMotion(rms_um=0.0, share=0.0)
    monkeypatch.setattr(simulation_ablation, "crop_motion", lambda *levels, seed: still)
    # So few pairs make no batch of the usual size.
    usual = AblationRequest.task
    small = {"neurons": 12, "contrastive_neurons": 12}
    monkeypatch.setattr(
        AblationRequest, "task", lambda self, seed: usual(self, seed).model_copy(update=small)
    )
    return asked


def noise(n, *, seed):
    sides = np.random.default_rng(seed).random((2, n, 150, 150), dtype=np.float32)
    return PairSet(*sides, np.arange(n) // 6)


def request(**changes):
    return AblationRequest(**({"scenes": 2, "steps": 2, "initialisations": (0, 1)} | changes))


def real_pairs():
    crops = noise(5, seed=3).two_photon
    return RealPairs(crops[:3], crops, np.arange(3), np.zeros((5, 3)))


def lumen_um3(changes, key):
    vessels = grow_vessels(LOW, HIGH, 150.0, level("paper").changed(**changes).vessels, key)
    return float(vessels.points(LOW, HIGH).amount.sum())


def test_without_vessels_there_is_no_lumen_in_any_block():
    assert lumen_um3({}, Key.of(0)) > 0
    for seed in range(5):
        assert lumen_um3(ABLATIONS["no vessels"], Key.of(seed)) == 0


@pytest.mark.parametrize(
    ("name", "tears", "window"),
    [
        ("full", True, True),
        ("full, other scenes", True, True),
        ("no vessels", True, True),
        ("no tears", False, True),
        ("no window", True, False),
    ],
)
def test_what_is_left_out_moves_nothing_and_the_rest_does(name, tears, window):
    misfit = level("paper").changed(**ABLATIONS[name]).misfit
    points = torch.rand(3, 4000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    points *= torch.tensor(HIGH, dtype=torch.float64)[:, None]
    parts = (
        (draw_tears(misfit, Key.of(1), LOW, HIGH), tears),
        (draw_window(misfit, Key.of(1), LOW, HIGH, 150.0), window),
    )
    for part, moves in parts:
        assert bool((part.move(points) - points).abs().max() > 0.1) == moves


def test_a_condition_changes_nothing_but_its_own_parameters():
    paper = level("paper").model_dump()
    for changes in ABLATIONS.values():
        ablated = level("paper").changed(**changes).model_dump()
        different = {
            (group, name)
            for group, values in ablated.items()
            for name, value in values.items()
            if value != paper[group][name]
        }
        assert different == {(group, name) for group in changes for name in changes[group]}


def test_all_conditions_share_seeds_first_weights_and_test(simulated, tmp_path):
    conditions = tuple(name for name in ABLATIONS if name != CONTROL)
    result = benchmark_ablation(request(conditions=conditions), cache=tmp_path, real=real_pairs())
    assert [row.condition for row in result.results] == list(conditions)
    keys = [BlockKeys.of(5000, n) for n in range(2)]
    levels = [level("paper").changed(**ABLATIONS[name]).digest() for name in conditions]
    assert simulated == [(digest, 64, key) for digest in levels for key in keys]
    full, *others = (row.figures for row in result.results)
    assert set(full) == {
        *("simulated_top1_53", "simulated_mrr"),
        *("real_top1", "real_top1_53", "real_top1_40um", "real_mrr"),
    }
    # The noise that stands for pairs is the same for all, and so must everything else be.
    for figures in others:
        assert {name: figure.runs for name, figure in figures.items()} == {
            name: figure.runs for name, figure in full.items()
        }
    assert (result.n_simulated, result.n_real, result.n_gallery) == (12, 3, 5)


def test_the_control_has_the_same_parameters_and_other_tissue(simulated, tmp_path):
    result = benchmark_ablation(request(conditions=(FULL, CONTROL)), cache=tmp_path)
    digest = level("paper").digest()
    assert simulated == [(digest, 64, BlockKeys.of(5000, number)) for number in range(4)]
    full, control = (row.figures["simulated_mrr"] for row in result.results)
    assert control.runs != full.runs


def test_stopped_in_the_middle_it_goes_on_to_the_same_end(simulated, tmp_path):
    wanted = request(conditions=("full", "no tears"), steps=2)
    whole = benchmark_ablation(wanted, cache=tmp_path / "whole")

    def stop(done, total, text):
        if text.startswith("no tears, initialisation 1"):
            raise Cancelled

    with pytest.raises(Cancelled):
        benchmark_ablation(wanted, cache=tmp_path / "stopped", report=stop)
    trained = []
    again = benchmark_ablation(
        wanted, cache=tmp_path / "stopped", report=lambda *state: trained.append(state)
    )
    assert again == whole
    # All four had ended when it was stopped, so nothing is left to do.
    assert not trained
    assert len(simulated) == 8


def test_training_scenes_are_those_of_simulated_pairs(monkeypatch, tmp_path):
    monkeypatch.setattr(simulation_ablation, "CELLS_PER_SCENE", 2)
    first = training_scenes(level("easy"), range(2), 7, tmp_path)
    wanted = simulate_pairs(4, seed=7, level="easy", cells_per_scene=2)
    assert first.scene.tolist() == wanted.scene.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(first.fmost, wanted.fmost, atol=0.51 / 255)
    np.testing.assert_allclose(first.two_photon, wanted.two_photon, atol=0.51 / 255)


def test_another_budget_is_another_training(simulated, tmp_path):
    few = benchmark_ablation(request(conditions=("full",)), cache=tmp_path)
    more = benchmark_ablation(request(conditions=("full",), steps=3), cache=tmp_path)
    assert few.results != more.results


def test_a_reference_is_tested_beside_them(simulated, tmp_path):
    trained = simulation_ablation.new_encoder(request().task(0))
    result = benchmark_ablation(
        request(conditions=("full",), initialisations=(0,)),
        cache=tmp_path,
        reference=Encoder(trained, "0123"),
    )
    assert result.reference.condition == "small 0123"
    assert set(result.reference.figures) == set(result.results[0].figures)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conditions": ("full", "no neurons")}, "no condition 'no neurons'"),
        ({"conditions": ("no tears",)}, "must be among them"),
        ({"level": "paradise"}, "no simulation level 'paradise'"),
    ],
)
def test_what_does_not_exist_is_named(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        benchmark_ablation(request(**changes), cache=tmp_path)


def test_crops_are_averaged_to_the_size_of_the_encoder():
    crops = np.zeros((1, 150, 150), np.float32)
    crops[0, 10, 20] = 1.0
    small = at_size(crops, SMALL_ENCODER.crop_pixels)
    assert small.shape == (1, 75, 75)
    assert small[0, 5, 10] == 0.25
    assert at_size(crops, 150) is crops
    with pytest.raises(InputError, match="take a divisor"):
        at_size(crops, 64)
