"""``benchmark ablation``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from napari_neurobridge.benchmarks import simulation_ablation
from napari_neurobridge.benchmarks.ablation_geometry import CropMotion
from napari_neurobridge.benchmarks.ablation_statistics import AblationFigure, AblationRow
from napari_neurobridge.benchmarks.simulation_ablation import AblationBenchmark
from napari_neurobridge.cli import main

if TYPE_CHECKING:
    from pathlib import Path


def row(name: str, difference: float | None) -> AblationRow:
    interval = None if difference is None else (difference - 0.05, difference + 0.05)
    figure = AblationFigure(
        mean=0.25,
        runs=(0.2, 0.3),
        interval=(0.22, 0.28),
        difference=difference,
        difference_interval=interval,
    )
    return AblationRow(condition=name, figures={"simulated_top1_53": figure})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the benchmark was asked for; it answers at once."""
    requests: list[Any] = []

    def measure(request: Any, **options: Any) -> AblationBenchmark:
        requests.append((request, options))
        return AblationBenchmark(
            level="paper",
            level_digest="83677990cf75",
            scenes=request.scenes,
            steps=request.steps,
            initialisations=request.initialisations,
            n_simulated=530,
            n_real=None,
            n_gallery=None,
            motion={
                "full": CropMotion(rms_um=0.0, share=0.0),
                "no tears": CropMotion(rms_um=0.125, share=0.01),
            },
            results=(row("full", None), row("no tears", -0.1)),
            reference=None,
        )

    monkeypatch.setattr(simulation_ablation, "benchmark_ablation", measure)
    return requests


def test_the_table_gives_the_full_simulation_and_differences_to_it(
    asked: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--cache", str(tmp_path), "--steps", "7", "--initialisations", "3"]
    assert main(["benchmark", "ablation", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["full", "0.000", "0.250", "(0.220", "to", "0.280)"]
    assert lines[2].split() == ["no", "tears", "0.125", "-0.100", "(-0.150", "to", "-0.050)"]
    request, options = asked[0]
    assert (request.steps, request.initialisations) == (7, (0, 1, 2))
    assert (options["real"], options["reference"]) == (None, None)


def test_json_has_every_run(
    asked: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--cache", str(tmp_path), "--condition", "full", "--condition", "no tears"]
    assert main(["benchmark", "ablation", *arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["results"][1]["figures"]["simulated_top1_53"]["runs"] == [0.2, 0.3]
    assert asked[0][0].conditions == ("full", "no tears")


def test_real_images_need_their_pixel_size(
    asked: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["benchmark", "ablation", "--cache", str(tmp_path), "--real", str(tmp_path)])
    assert code == 2
    assert "--pixel-um" in capsys.readouterr().err
    assert not asked
