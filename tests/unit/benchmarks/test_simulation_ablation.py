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
    AblationParameters,
    at_size,
    run,
    training_scenes,
)
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.simulation.deformation.tears import draw_tears
from napari_neurobridge.simulation.deformation.window import draw_window
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.levels import level
from napari_neurobridge.simulation.pairs import BlockCrops, BlockKeys, simulate_pairs
from napari_neurobridge.simulation.tissue.vasculature import grow_vessels
from napari_neurobridge.training.encoder_task import new_encoder

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
        return BlockCrops(pairs.two_photon, pairs.fmost, np.zeros((6, 3)))

    monkeypatch.setattr(simulation_ablation, "simulate_block", simulate)
    monkeypatch.setattr(
        simulation_ablation, "held_out_pairs", lambda seeds, level: noise(12, seed=9)
    )
    still = CropMotion(rms_um=0.0, share=0.0)
    monkeypatch.setattr(simulation_ablation, "crop_motion", lambda *levels, seed: still)
    monkeypatch.setattr(simulation_ablation, "read_real_pairs", lambda *args, **kw: real_pairs())
    # So few pairs make no batch of the usual size.
    usual, few = simulation_ablation.small_task, {"neurons": 12, "contrastive_neurons": 12}
    monkeypatch.setattr(
        simulation_ablation, "small_task", lambda *args: usual(*args).model_copy(update=few)
    )
    return asked


def noise(n, *, seed):
    sides = np.random.default_rng(seed).random((2, n, 150, 150), dtype=np.float32)
    return PairSet(*sides, np.arange(n) // 6)


def asked_for(cache, **changes):
    budget = {"scenes": 2, "steps": 2, "initialisations": 2}
    return AblationParameters(cache=cache, **(budget | changes))


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
        ("other tissue", True, True),
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
    result = run(asked_for(tmp_path, conditions=conditions, real=tmp_path, pixel_um=(1.0, 1.0)))
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
    result = run(asked_for(tmp_path, conditions=(FULL, CONTROL)))
    digest = level("paper").digest()
    assert simulated == [(digest, 64, BlockKeys.of(5000, number)) for number in range(4)]
    full, control = (row.figures["simulated_mrr"] for row in result.results)
    assert control.runs != full.runs


def test_stopped_in_the_middle_it_goes_on_to_the_same_end(simulated, tmp_path):
    conditions = ("full", "no tears")
    whole = run(asked_for(tmp_path / "whole", conditions=conditions))
    simulated.clear()

    def stop(done, total, text):
        if text.startswith("no tears, initialisation 1"):
            raise Cancelled

    again = asked_for(tmp_path / "stopped", conditions=conditions)
    with pytest.raises(Cancelled):
        run(again, report=stop)
    trained = []
    assert run(again, report=lambda *state: trained.append(state)) == whole
    # All four had ended when it was stopped, so no scene and no step is left to do.
    assert {text for *_, text in trained} <= {"simulating scenes"}
    assert len(simulated) == 4


def test_training_scenes_are_those_of_simulated_pairs(monkeypatch, tmp_path):
    monkeypatch.setattr(simulation_ablation, "CELLS_PER_SCENE", 2)
    first = training_scenes(level("easy"), range(2), 7, tmp_path)
    wanted = simulate_pairs(4, seed=7, level="easy", cells_per_scene=2)
    assert first.scene.tolist() == wanted.scene.tolist() == [0, 0, 1, 1]
    # In bytes, the darkest pixel inside the image is 1 and not 0.
    np.testing.assert_allclose(first.fmost, wanted.fmost, atol=1 / 255)
    np.testing.assert_allclose(first.two_photon, wanted.two_photon, atol=1 / 255)


def test_another_budget_is_another_training(simulated, tmp_path):
    few = run(asked_for(tmp_path, conditions=("full",)))
    more = run(asked_for(tmp_path, conditions=("full",), steps=3))
    assert few.results != more.results


def test_a_reference_is_tested_beside_them(simulated, monkeypatch, tmp_path):
    trained = Encoder(new_encoder(simulation_ablation.small_task(2, 0)), "0123")
    monkeypatch.setattr(simulation_ablation, "load_encoder", lambda project, name: trained)
    result = run(asked_for(tmp_path, conditions=("full",), initialisations=1, reference="mine"))
    assert result.reference.condition == "small 0123"
    assert set(result.reference.figures) == set(result.results[0].figures)
    assert "small 0123" in result.summary()


def test_the_table_has_the_full_simulation_and_differences_to_it(simulated, tmp_path):
    result = run(asked_for(tmp_path, conditions=("full", "no tears")))
    _, full, without, *_ = result.summary().splitlines()
    top1 = result.results[0].figures["simulated_top1_53"]
    assert full.startswith("full")
    assert f"{top1.mean:.3f} (" in full
    # The same noise stands for both, so they do not differ.
    assert without.startswith("no tears")
    assert "+0.000 (" in without


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conditions": ("full", "no neurons")}, "no condition 'no neurons'"),
        ({"conditions": ("no tears",)}, "must be among them"),
        ({"level": "paradise"}, "no simulation level 'paradise'"),
        ({"seeds": ()}, "at least one seed"),
        ({"real": "images"}, "go together"),
        ({"pixel_um": (1.0, 1.0)}, "go together"),
    ],
)
def test_what_does_not_exist_is_named(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        run(asked_for(tmp_path, **changes))


def test_crops_are_averaged_to_the_size_of_the_encoder():
    crops = np.zeros((1, 150, 150), np.float32)
    crops[0, 10, 20] = 1.0
    small = at_size(crops, SMALL_ENCODER.crop_pixels)
    assert small.shape == (1, 75, 75)
    assert small[0, 5, 10] == 0.25
    assert at_size(crops, 150) is crops
    with pytest.raises(InputError, match="take a divisor"):
        at_size(crops, 64)
