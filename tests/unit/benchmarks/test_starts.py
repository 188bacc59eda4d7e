"""Starts without any landmark: the fields, and what is counted."""

from pathlib import Path

import numpy as np
import pytest

from napari_neurobridge.benchmarks.start_fields import (
    FIELD_KINDS,
    FieldKind,
    StartFieldParams,
    draw_start_field,
)
from napari_neurobridge.benchmarks.starts import StartsParameters, run
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tables import write_points


@pytest.mark.parametrize("kind", FIELD_KINDS)
def test_partners_lie_where_the_map_says(kind: FieldKind):
    params = StartFieldParams(bend_um=0.0, noise_um=0.0, tilt_deg=0.0, per_axis=True)
    field = draw_start_field(kind, params, 0)
    rows = np.flatnonzero(field.partner >= 0)
    assert len(rows) > 60
    moved = field.queries_um[rows] @ field.linear.T
    apart = field.gallery_um[field.partner[rows]] - moved
    # One shift for all; a plane does not know its depth.
    free = 1 if kind == "plane in volume" else 0
    np.testing.assert_allclose((apart - apart.mean(axis=0))[:, free:], 0, atol=1e-6)
    assert len(np.unique(field.partner[rows])) == len(rows)


def test_a_field_is_a_function_of_its_seed_and_has_what_was_asked_for():
    params = StartFieldParams(missing=0.3, bend_um=8.0, noise_um=0.0, scale=(1.0, 1.0), turn=False)
    field, again = (draw_start_field("plane in plane", params, 4) for _ in range(2))
    np.testing.assert_array_equal(field.gallery_um, again.gallery_um)
    rows = np.flatnonzero(field.partner >= 0)
    assert len(rows) / len(field.partner) == pytest.approx(0.7, abs=0.1)
    apart = (field.gallery_um[field.partner[rows]] - field.queries_um[rows])[:, 1:]
    assert 3.0 < apart.std(axis=0).mean() < 12.0


@pytest.mark.slow
def test_tables_are_turned_and_what_is_right_is_counted(tmp_path: Path):
    params = StartFieldParams(missing=0.1, bend_um=4.0, scale=(1.0, 1.0), turn=False)
    field = draw_start_field("plane in plane", params, 3)
    names = [tmp_path / name for name in ("q.csv", "g.csv", "p.csv")]
    for path, points in zip(names, (field.queries_um, field.gallery_um), strict=False):
        write_points(path, [f"{path.stem}{row}" for row in range(len(points))], points)
    rows = np.flatnonzero(field.partner >= 0)[::3]
    lines = ["a,b", *(f"q{row},g{field.partner[row]}" for row in rows)]
    names[2].write_text("\n".join(lines) + "\n", encoding="utf-8")
    asked = StartsParameters(fields=1, queries=names[0], gallery=names[1], pairs=names[2])
    found = run(asked)
    (trial,) = found.trials
    assert trial.known
    assert trial.n_matchable == len(rows)
    assert trial.claims_right is not None
    assert trial.claims_right > 0.9
    assert not trial.unrelated_known
    assert not trial.mirrored_known
    assert found.results[0].started_right == 1.0
    assert "started_right" in found.summary()


def test_tables_come_together(tmp_path: Path):
    with pytest.raises(InputError, match="together"):
        run(StartsParameters(queries=tmp_path / "q.csv"))
