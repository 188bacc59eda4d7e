import numpy as np
import pytest
import torch

from napari_neurobridge.benchmarks.constellation import (
    ConstellationParameters,
    benchmark_constellation,
    scene_field,
)

SIZE = (70.0, 150.0, 150.0)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def test_a_scenes_partners_lie_on_one_map_near_the_stated_orientation():
    field = scene_field(3, "paper", 0.1, 30.0, SIZE)
    rows = field.pairs.partner >= 0
    assert 0.6 < rows.mean() < 1
    here = field.pairs.queries_um[rows]
    there = field.pairs.gallery_um[field.pairs.partner[rows]]
    design = np.c_[here, np.ones(len(here))]
    solution = np.linalg.lstsq(design, there, rcond=None)[0]
    assert np.sqrt(((design @ solution - there) ** 2).mean()) < 6
    left, _, right = np.linalg.svd(solution[:3].T @ np.linalg.inv(field.orientation))
    away = np.rad2deg(np.arccos(np.clip((np.trace(left @ right) - 1) / 2, -1, 1)))
    # The scene's own misfit comes on top.
    assert 0 < away < field.angle_deg + 20
    assert field.angle_deg <= 30


def test_the_same_seed_gives_the_same_field():
    first, same = (scene_field(4, "easy", 0.3, 30.0, SIZE) for _ in range(2))
    np.testing.assert_array_equal(first.pairs.queries_um, same.pairs.queries_um)
    np.testing.assert_array_equal(first.orientation, same.orientation)


def test_the_shares_add_up_and_easy_scenes_start_right():
    result = benchmark_constellation(
        ConstellationParameters(fields=2, seed=40, level="easy", missing=0.05, size=SIZE)
    )
    claimed_right = result.started_right + result.wrong_known
    assert claimed_right + result.unknown == pytest.approx(1.0)
    assert result.started_right == 1.0
    assert result.unrelated_known == 0.0
    assert [trial.seed for trial in result.trials] == [40, 41]
    assert all(trial.n_matchable <= trial.n_queries for trial in result.trials)
