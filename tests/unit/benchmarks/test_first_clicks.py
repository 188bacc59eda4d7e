"""First clicks in registered projects without any pair."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_neurobridge.benchmarks import first_clicks
from napari_neurobridge.benchmarks.first_clicks import FirstClicksParameters, run
from napari_neurobridge.benchmarks.points import PointPairs
from napari_neurobridge.registration.quality import Evidence, RegistrationDecision
from napari_neurobridge.spaces.choose_fit import choose_fit
from napari_neurobridge.spaces.correspondences import Correspondences
from napari_neurobridge.training.scene_volumes import SceneVolumes
from napari_neurobridge.workflows.register import RegistrationProposal

EVIDENCE = Evidence(
    n_source=9, n_target=9, n_initial=9, n_verified=9, n_agreeing=9, inlier_ratio=1.0
)
N = 60


def field(wrong: int = 0) -> PointPairs:
    """Return cells far apart and their partners, the first ones swapped with a neighbour's."""
    at = np.arange(0, 300, 40.0)
    places = np.stack(np.meshgrid([0.0, 40.0], at, at, indexing="ij"), axis=-1).reshape(-1, 3)[:N]
    partner = np.arange(N)
    partner[: 2 * wrong] = partner[: 2 * wrong].reshape(-1, 2)[:, ::-1].ravel()
    return PointPairs(places, places + 500.0, partner)


@pytest.fixture
def proposed(monkeypatch: pytest.MonkeyPatch):
    """Let a registration be what its projects' places say, or be refused for some seeds."""
    monkeypatch.setattr(
        "napari_neurobridge.training.scene_volumes.cached_scene",
        lambda seed, *rest: SimpleNamespace(seed=seed),
    )
    refused: set[int] = set()
    asked: list[int] = []

    def detected(scene, kind, rng) -> PointPairs:
        asked.append(scene.seed)
        return field(wrong=6)

    def propose(project) -> RegistrationProposal:
        state = project.state()
        here, there = (
            np.array([soma.center_um for soma in state.somata[name].values()])
            for name in ("two_photon", "fmost")
        )
        there = there[np.lexsort(there.T)][np.argsort(np.lexsort(here.T))]
        names = {"source": "two_photon", "target": "fmost"}
        choice = choose_fit(Correspondences(here, there, np.ones(len(here)), **names))
        accepted = asked[-1] not in refused
        decision = RegistrationDecision(accepted=accepted, reason="Said so.")
        found = SimpleNamespace(
            decision=decision,
            evidence=EVIDENCE,
            choice=choice,
            transform=choice.transform if accepted else None,
        )
        return RegistrationProposal("two_photon", "fmost", found)

    monkeypatch.setattr(first_clicks, "_detected", detected)
    monkeypatch.setattr(first_clicks, "propose_registration", propose)
    return refused


def test_partners_that_come_first_are_counted(proposed) -> None:
    found = run(FirstClicksParameters(scenes=2, first_seed=5))
    assert found.accepted == 2
    assert [row.seed for row in found.rows] == [5, 6]
    # Of six pairs of neighbours the partners are swapped: those twelve are not first, but listed.
    assert found.first == pytest.approx((N - 12) / N)
    assert {row.listed for row in found.rows} == {1.0}
    assert "80.0%" in found.summary()


def test_cells_of_refused_projects_are_not_first(proposed) -> None:
    proposed.add(6)
    found = run(FirstClicksParameters(scenes=2, first_seed=5))
    assert found.accepted == 1
    assert found.first == pytest.approx((N - 12) / N / 2)
    assert found.rows[1].first is None
    assert found.rows[1].off_um is None
    assert found.rows[1].asked == N


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stack", "plane"])
def test_what_is_detected_is_paired_and_turned(kind: str) -> None:
    scene = SceneVolumes.simulate(4, "easy", (60.0, 200.0, 200.0))
    found = first_clicks._detected(scene, kind, np.random.default_rng(0))
    known = found.partner >= 0
    assert known.mean() > 0.5
    here, there = found.queries_um[known, 1:], found.gallery_um[found.partner[known], 1:]
    here, there = here - here.mean(axis=0), there - there.mean(axis=0)
    u, _, v = np.linalg.svd(here.T @ there)
    assert np.median(np.linalg.norm(here @ u @ v - there, axis=1)) < 6
    assert np.median(np.linalg.norm(here - there, axis=1)) > 20
    assert (len(np.unique(found.queries_um[:, 0])) == 1) is (kind == "plane")
