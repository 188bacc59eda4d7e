"""The scoring of matches from coordinates alone."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.benchmarks.points import (
    PointPairs,
    PointsParameters,
    benchmark_points,
    draw_landmarks,
    read_point_pairs,
)
from napari_neurobridge.errors import InputError


@pytest.fixture(scope="module")
def pairs() -> PointPairs:
    rng = np.random.default_rng(3)
    gallery = rng.uniform(0, 250, (500, 3))
    partner = rng.choice(500, 60, replace=False)
    return PointPairs(gallery[partner] * 1.05 + rng.normal(0, 1, (60, 3)), gallery, partner)


def test_deleted_partners_are_gone_and_the_others_stay(pairs):
    left = pairs.without(np.arange(20))
    assert (left.partner[:20] == -1).all()
    np.testing.assert_array_equal(
        left.gallery_um[left.partner[20:]], pairs.gallery_um[pairs.partner[20:]]
    )


def test_landmarks_lie_as_asked(pairs):
    rng = np.random.default_rng(0)
    ball = pairs.queries_um[draw_landmarks(pairs, 4, "ball", rng)]
    assert np.linalg.norm(ball[:, None] - ball, axis=2).max() <= 150
    with pytest.raises(InputError, match="no 60 landmarks"):
        draw_landmarks(pairs, 60, "plane", rng)


def test_benchmark_matches_an_easy_field(pairs):
    result = benchmark_points(pairs, PointsParameters(landmarks=8, draws=2))
    assert result.top1_mean > 0.9
    assert result.wrong_in_first_two is None
    request = PointsParameters(landmarks=8, draws=2, wrong="any", missing=0.3)
    wrong = benchmark_points(pairs, request)
    assert wrong.wrong_in_first_two is not None
    assert all(trial.wrong_rank is not None for trial in wrong.trials)


def test_tables_are_read_and_bad_ones_refused(tmp_path):
    (tmp_path / "q.csv").write_text("uid,z_um,y_um,x_um\na,1,2,3\nb,4,5,6\n")
    (tmp_path / "g.csv").write_text("uid,z_um,y_um,x_um\n1,1,2,3\n2,4,5,6\n")
    (tmp_path / "p.csv").write_text("query,gallery\nb,1\n")
    found = read_point_pairs(*(tmp_path / f"{name}.csv" for name in "qgp"))
    assert found.partner.tolist() == [-1, 0]
    (tmp_path / "p.csv").write_text("query,gallery\nb,7\n")
    with pytest.raises(InputError, match="neither"):
        read_point_pairs(*(tmp_path / f"{name}.csv" for name in "qgp"))
    (tmp_path / "p.csv").write_text("query,gallery\nb,1,2\n")
    with pytest.raises(InputError, match=r"p\.csv, line 2, has 3 fields"):
        read_point_pairs(*(tmp_path / f"{name}.csv" for name in "qgp"))
    with pytest.raises(InputError, match="no file"):
        read_point_pairs(tmp_path / "none.csv", tmp_path / "g.csv", tmp_path / "p.csv")
