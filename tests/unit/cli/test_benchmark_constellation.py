"""``benchmark constellation``."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout

import pytest

from napari_neurobridge.benchmarks import constellation
from napari_neurobridge.benchmarks.constellation import (
    SIZE_UM,
    ConstellationBenchmark,
    ConstellationParameters,
    ConstellationTrial,
)
from napari_neurobridge.cli import main

TRIAL = ConstellationTrial(
    seed=7,
    n_queries=40,
    n_gallery=50,
    n_matchable=20,
    angle_deg=12.0,
    known=True,
    right=0.9,
    claims_right=0.95,
    network_precision=0.5,
    network_recall=0.25,
    evidence=80.0,
    decoy_evidence=4.0,
    unrelated_known=False,
    seconds=1.5,
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[ConstellationParameters]:
    """What the benchmark was asked for; it answers at once."""
    requests: list[ConstellationParameters] = []

    def measure(asked: ConstellationParameters, **_: object) -> ConstellationBenchmark:
        requests.append(asked)
        return ConstellationBenchmark(
            model=asked.model or "bundled",
            **asked.model_dump(include={"level", "missing", "fields"}),
            angle_deg=asked.angle,
            size_um=asked.size,
            started_right=1.0,
            unknown=0.0,
            wrong_known=0.0,
            unrelated_known=0.0,
            right_mean=0.9,
            network_precision=0.5,
            network_recall=0.25,
            seconds=1.5,
            trials=(TRIAL,),
        )

    monkeypatch.setattr(constellation, "benchmark_constellation", measure)
    return requests


def call(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["benchmark", "constellation", *map(str, arguments)])
    return code, out.getvalue(), err.getvalue()


def test_what_is_asked_for_is_passed_on(asked: list[ConstellationParameters]):
    code, out, err = call("--fields", 3, "--seed", 9, "--angle", 20, "--missing", 0.4, "--json")
    assert code == 0, err
    assert asked == [ConstellationParameters(fields=3, seed=9, angle=20.0, missing=0.4)]
    assert asked[0].size == SIZE_UM
    figures = json.loads(out)
    assert figures["started_right"] == 1.0
    assert figures["trials"][0]["seed"] == 7


def test_the_summary_has_a_row_for_each_field_and_the_shares(asked: list[ConstellationParameters]):
    code, out, _ = call()
    assert code == 0
    assert "started right 1.00, unknown 0.00" in out
    assert "claims_right" in out


def test_no_fields_are_refused(asked: list[ConstellationParameters]):
    code, _, err = call("--fields", 0)
    assert code == 2
    assert "fields" in err
    assert not asked
