import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.pairs import PairSet, as_bytes
from napari_neurobridge.simulation.posed_pairs import CropPoses
from napari_neurobridge.training import simulated_data
from napari_neurobridge.training.simulated_data import PairSource, training_pairs


@pytest.fixture
def simulated(monkeypatch):
    """Replace the simulator by one that is quick and says what it was asked for."""
    asked = []

    def pairs(n, *, seed, level, cells_per_scene, morphologies=(), report=None):
        asked.append((n, seed, level, len(morphologies)))
        sides = np.full((2, n, 4, 4), seed % 256 / 255, dtype=np.float32)
        return PairSet(sides[0], sides[1], np.arange(n) // cells_per_scene)

    monkeypatch.setattr(simulated_data, "simulate_pairs", pairs)
    monkeypatch.setattr(simulated_data, "SHARD_PAIRS", 10)
    monkeypatch.setattr(simulated_data, "CELLS_PER_SCENE", 4)
    return asked


def test_sources_follow_each_other_in_shards_and_share_no_scene(simulated, tmp_path):
    sources = [PairSource(pairs=14, first_seed=7), PairSource(level="hard", pairs=5, first_seed=7)]
    two_photon, fmost, scene = training_pairs(sources, tmp_path)
    assert simulated == [(10, 7, "paper", 0), (4, 8, "paper", 0), (5, 7, "hard", 0)]
    assert two_photon.shape == fmost.shape == (19, 4, 4)
    assert two_photon[:, 0, 0].tolist() == [7] * 10 + [8] * 4 + [7] * 5
    assert scene.tolist() == [0] * 4 + [1] * 4 + [2] * 2 + [3] * 4 + [4] * 4 + [5]


def test_cached_shards_are_not_simulated_again(simulated, tmp_path):
    source = PairSource(pairs=6, first_seed=3)
    first = training_pairs([source], tmp_path)
    again = training_pairs([source], tmp_path)
    assert len(simulated) == 1
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_real_neurons_are_used_only_where_they_are_asked_for(simulated, tmp_path):
    wanted = PairSource(pairs=4, reconstructions=True)
    with pytest.raises(InputError, match="give a folder of SWC files"):
        training_pairs([wanted], tmp_path)
    training_pairs([PairSource(pairs=4), wanted], tmp_path, morphologies=[object()])
    assert [count for *_, count in simulated] == [0, 1]


def test_bytes_round_and_clip():
    assert as_bytes(np.array([-1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [0, 0, 128, 255, 255]


def test_poses_of_a_cell_are_kept_side_by_side_and_cached(monkeypatch, simulated, tmp_path):
    asked = []

    def posed(n, *, seed, level, poses, cells_per_scene, morphologies=(), report=None):
        asked.append((n, seed, poses))
        sides = np.full((2, n, 4, 4), seed / 255, dtype=np.float32)
        scene = np.arange(n) // cells_per_scene
        return [PairSet(sides[0], sides[1] + v / 255, scene) for v in range(len(poses))]

    monkeypatch.setattr(simulated_data, "simulate_posed_pairs", posed)
    poses = (None, CropPoses())
    source = PairSource(pairs=14, first_seed=7, poses=poses)
    for _ in range(2):
        two_photon, fmost, scene = training_pairs([source], tmp_path)
        assert two_photon.shape == fmost.shape == (14, 2, 4, 4)
        assert fmost[:, :, 0, 0].tolist() == [[7, 8]] * 10 + [[8, 9]] * 4
        assert scene.tolist() == [0] * 4 + [1] * 4 + [2] * 2 + [3] * 4
    assert asked == [(10, 7, poses), (4, 8, poses)]
    training_pairs([source.model_copy(update={"poses": (None, CropPoses(tilt_deg=5))})], tmp_path)
    assert len(asked) == 4
    with pytest.raises(InputError, match="same number of poses"):
        training_pairs([source, PairSource(pairs=4)], tmp_path)
