"""The benchmark on generated fields."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from napari_neurobridge.benchmarks import fields_matching
from napari_neurobridge.benchmarks.fields import make_field
from napari_neurobridge.benchmarks.fields_baselines import BASELINES, DRIFT
from napari_neurobridge.benchmarks.fields_matching import (
    FieldsParameters,
    benchmark_fields,
    share_in_ellipsoids,
)
from napari_neurobridge.errors import InputError


def test_a_volume_is_matched_and_the_baselines_stand_beside_it():
    said = []
    asked = FieldsParameters(kinds=("plane",), draws=1, seed=0)
    result = benchmark_fields(asked, report=lambda *words: said.append(words))
    (row,) = result.results
    assert row.top1_mean is not None
    assert row.top1_mean > 0.9
    assert set(row.baselines) | set(result.skipped) == set(BASELINES)
    assert row.top1_mean > max(row.baselines.values())
    assert said == [(0, 1, "plane")]
    assert "plane" in result.summary()
    assert row.trials[0].n_claims_right <= row.trials[0].n_claims <= row.trials[0].n_asked


def test_baselines_alone_and_without_point_drift(monkeypatch):
    monkeypatch.setattr(fields_matching, "has_point_drift", lambda: False)
    asked = FieldsParameters(kinds=("slab",), draws=1, seed=0, matcher=False)
    result = benchmark_fields(asked)
    assert result.skipped == (DRIFT,)
    assert result.results[0].top1_mean is None
    assert DRIFT not in result.results[0].baselines
    assert "point drift" in result.summary()


@pytest.mark.parametrize("control", ["shifted", "unrelated"])
def test_controls_count_false_claims(control):
    asked = FieldsParameters(kinds=("volume",), draws=1, seed=0, control=control)
    (row,) = benchmark_fields(asked).results
    assert row.trials[0].n_claims_right == 0
    assert row.claimed is not None
    assert row.claimed < 0.1
    assert row.baselines == {}
    assert row.in_ellipsoid is None


def test_ellipsoids_hold_the_share_that_they_state():
    field = make_field("duplicates", 0)
    rng = np.random.default_rng(0)
    asked = np.flatnonzero(field.pairs.partner >= 0)
    true = field.pairs.gallery_um[field.pairs.partner]
    covariance = np.array([[25.0, 6.0, 0.0], [6.0, 9.0, 0.0], [0.0, 0.0, 4.0]])
    wide = np.broadcast_to(covariance, (len(true), 3, 3))
    off = rng.multivariate_normal(np.zeros(3), covariance, len(true))
    found = SimpleNamespace(predicted_um=true + off, covariance_um2=wide)
    assert share_in_ellipsoids(found, field, asked) == pytest.approx(0.9, abs=0.05)
    # A sphere of the same volume is another shape, and holds fewer.
    sphere = np.eye(3) * np.linalg.det(covariance) ** (1 / 3)
    ball = SimpleNamespace(
        predicted_um=found.predicted_um, covariance_um2=np.broadcast_to(sphere, wide.shape)
    )
    assert share_in_ellipsoids(ball, field, asked) < share_in_ellipsoids(found, field, asked) - 0.02
    nothing = replace(field.pairs, partner=np.full(len(true), -1))
    assert share_in_ellipsoids(found, replace(field, pairs=nothing), asked) is None


def test_either_detection_of_a_soma_may_find_it():
    field = make_field("duplicates", 0)
    asked = np.arange(len(field.query_soma))
    sure = np.random.default_rng(0).random(len(asked))
    once = fields_matching._once_for_each_soma(field, asked, sure)
    assert len(once) == len(np.unique(field.query_soma)) == 400
    for row in once:
        same = field.query_soma == field.query_soma[row]
        assert sure[row] == sure[same].max()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kinds": ("moon",)}, "no kind of field 'moon'"),
        ({"control": "mirrored"}, "no control 'mirrored'"),
        ({"kinds": ("plane",), "landmarks": 400, "draws": 1}, "only"),
    ],
)
def test_senseless_requests_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        benchmark_fields(FieldsParameters(**options))
