"""A field of somata found in a volume that is many times as large."""

import numpy as np
import pytest

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.matching.constellation.local_poses import PoseParams
from napari_neurobridge.matching.constellation.localise import LocalisationParams, localise
from napari_neurobridge.matching.constellation.volume_search import VolumeSearchParams

FIELD_UM = 360.0
# The simulation's axes are swapped and mirrored alike.
ORIENTATION = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
QUICK = LocalisationParams(
    search=VolumeSearchParams(
        neighbourhoods=10, rounds=2, poses=PoseParams(kept=600, grown=60, scale=(0.78, 1.28))
    )
)


class Tissue:
    """Somata of a block, and a map that tilts, turns, stretches and bends."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.somata = self.rng.uniform(0, 1, (1600, 3)) * (160.0, 540.0, 540.0)
        tilt = np.array([[1, 0.05, -0.04], [-0.05, 1, 0], [0.04, 0, 1]])
        self.linear = ORIENTATION @ tilt @ np.diag([0.95, 0.92, 1.04])
        self.gallery = self.true(self.somata[self.rng.random(1600) < 0.85])

    def true(self, points: np.ndarray) -> np.ndarray:
        bend = 4 * np.sin(points[:, [1, 2, 0]] / 90.0)
        return (points + bend) @ self.linear.T + (300.0, 40.0, -20.0)

    def field(self, thick: float, deg: float = 70.0) -> tuple[np.ndarray, "Turn"]:
        turn = Turn(deg, np.array([70.0, 270.0, 270.0]))
        own = turn.inverse(self.somata)
        held = (np.abs(own[:, 1:] - FIELD_UM / 2) < FIELD_UM / 2).all(axis=1)
        held &= (own[:, 0] > -6) & (own[:, 0] < thick + 6) & (self.rng.random(len(own)) < 0.85)
        found = own[held] * (thick > 0, 1, 1)
        noise = self.rng.normal(0, 1, found.shape) * (thick > 0, 1, 1)
        return found + noise, turn


class Turn:
    """Where points of a field, turned about its middle, lie in the tissue."""

    def __init__(self, deg: float, middle: np.ndarray) -> None:
        cos, sin = np.cos(np.deg2rad(deg)), np.sin(np.deg2rad(deg))
        self.linear = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
        self.middle, self.own = middle, np.array([0.0, FIELD_UM / 2, FIELD_UM / 2])

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return (points - self.own) @ self.linear.T + self.middle

    def inverse(self, points: np.ndarray) -> np.ndarray:
        return (points - self.middle) @ self.linear + self.own


@pytest.fixture(scope="module")
def tissue() -> Tissue:
    return Tissue(3)


@pytest.mark.slow
@pytest.mark.parametrize("thick", [0.0, 50.0])
def test_a_field_is_found_with_its_depth_and_tilt(tissue: Tissue, thick: float):
    field, turn = tissue.field(thick)
    found = localise(field, tissue.gallery, orientation=ORIENTATION, params=QUICK)
    assert found.decision.accepted, found.decision.reason
    off = found.transform.map_points(field) - tissue.true(turn(field))
    assert np.median(np.linalg.norm(off, axis=1)) < 6.0
    right = np.linalg.norm(found.target_um - tissue.true(turn(found.source_um)), axis=1) < 8.0
    assert right[found.agreeing].mean() > 0.85
    assert found.evidence.n_agreeing == found.agreeing.sum() <= found.evidence.n_verified
    # The orientation's own turn does not count.
    assert abs(found.evidence.angle_deg - 70.0) < 6.0


def test_a_field_of_another_tissue_is_refused(tissue: Tissue):
    field, _ = Tissue(4).field(0.0)
    found = localise(field, tissue.gallery, orientation=ORIENTATION, params=QUICK)
    assert not found.decision.accepted
    assert found.transform is None
    assert "evidence" in found.decision.reason


def test_a_mirrored_field_is_refused(tissue: Tissue):
    field, _ = tissue.field(0.0)
    found = localise(field * (1, 1, -1), tissue.gallery, orientation=ORIENTATION, params=QUICK)
    assert not found.decision.accepted


def test_too_few_somata_are_refused(tissue: Tissue):
    found = localise(tissue.somata[:5], tissue.gallery, orientation=ORIENTATION)
    assert not found.decision.accepted
    assert "at least 8 somata" in found.decision.reason


@pytest.mark.parametrize("wrong", [np.zeros((3, 3)), np.eye(2), np.full((3, 3), np.nan)])
def test_a_wrong_orientation_is_an_error(tissue: Tissue, wrong: np.ndarray):
    with pytest.raises(InputError, match="invertible"):
        localise(tissue.somata, tissue.gallery, orientation=wrong)


def test_it_can_be_cancelled(tissue: Tissue):
    def report(done: int, total: int, message: str) -> None:
        assert 0 <= done <= total
        if done:
            raise Cancelled

    field, _ = tissue.field(0.0)
    with pytest.raises(Cancelled):
        localise(field, tissue.gallery, orientation=ORIENTATION, params=QUICK, report=report)
