"""The figures of the simulator's speed, on the smallest sizes."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from napari_neurobridge.benchmarks import simulation
from napari_neurobridge.benchmarks.scene_cost import measure_scene, peak_memory_gb
from napari_neurobridge.benchmarks.simulation import SimulationParameters, benchmark_simulation
from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.levels import level

TINY = (30.0, 40.0, 40.0)


@pytest.mark.slow
def test_a_run_reports_what_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    real = simulation.simulate_pairs

    def few(n: int, **request: object) -> object:
        made.append((n, torch.get_num_threads()))
        return real(1, **request | {"cells_per_scene": 1})

    monkeypatch.setattr(simulation, "simulate_pairs", few)
    before = torch.get_num_threads()
    result = benchmark_simulation(
        SimulationParameters(level="easy", pairs=5, scene_um=TINY, threads=before + 1)
    )
    assert result.level_digest == level("easy").digest()
    assert (result.pairs, result.threads, result.scene_um) == (5, before + 1, TINY)
    # The first batch only warms up; both ran on the threads asked for, which are given back.
    assert [threads for _, threads in made] == [before + 1] * 2
    assert made[1][0] == 5
    assert torch.get_num_threads() == before
    assert result.pairs_per_second == pytest.approx(5 / result.pairs_seconds)
    assert result.scene_seconds > 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
def test_peak_memory_is_what_was_held_and_not_what_is() -> None:
    begin = "import numpy as np; from napari_neurobridge.benchmarks.scene_cost import *\n"
    script = "one = peak_memory_gb(); a = np.ones(10**8); del a; print(peak_memory_gb() - one)"
    child = subprocess.run(
        [sys.executable, "-c", begin + script], capture_output=True, text=True, check=True
    )
    # 0.8 GB, less what Python held before its peak and gave back.
    assert 0.4 < float(child.stdout) < 0.9


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="others count the parent's")
def test_a_scenes_memory_is_its_own() -> None:
    ballast = torch.ones(400_000_000)
    here = peak_memory_gb()
    cost = measure_scene(TINY, seed=1, level="easy", threads=1)
    assert here is not None
    assert here > 1.6
    assert cost.peak_memory_gb is not None
    assert 0.1 < cost.peak_memory_gb < 1.4
    assert len(ballast)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"level": "absurd"}, "absurd"),
        ({"pairs": 0}, "at least 1"),
        ({"threads": 0}, "at least 1"),
        ({"device": "abacus"}, "abacus"),
        ({"scene_um": (1.0, 1.0, 1.0)}, "30 to 2000"),
    ],
)
def test_bad_requests_are_refused(request_: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        benchmark_simulation(SimulationParameters(**request_))
