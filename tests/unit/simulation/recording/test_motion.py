import pytest
import torch

from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.recording.motion import MotionParams, draw_motion


def test_jitter_has_the_stated_size_and_memory():
    params = MotionParams(jitter_um=0.8, z_jitter_um=0.4, drift_um=0, z_drift_um=0, jitter_s=0.2)
    motion = draw_motion(30_000, 15.0, params, Key.of(1)).double()
    assert motion.std(dim=0).tolist() == pytest.approx([0.4, 0.8, 0.8], rel=0.05)
    lagged = (motion[:-3] * motion[3:]).mean(dim=0) / motion.var(dim=0)
    assert lagged.tolist() == pytest.approx(3 * [torch.tensor(-1.0).exp().item()], abs=0.05)
    assert torch.corrcoef(motion.T)[0, 1].abs() < 0.05


def test_drift_is_slow():
    params = MotionParams(jitter_um=0, z_jitter_um=0)
    motion = draw_motion(1800, 15.0, params, Key.of(2))
    assert motion.diff(dim=0).std() < 0.1 * motion.std()


def test_motion_stays_within_its_limit_and_does_not_depend_on_the_length():
    params = MotionParams()
    motion = draw_motion(20_000, 15.0, params, Key.of(3))
    assert (motion.abs() <= torch.tensor(params.limit_um)).all()
    assert torch.equal(draw_motion(100, 15.0, params, Key.of(3)), motion[:100])


def test_tissue_can_be_still():
    params = MotionParams(jitter_um=0, drift_um=0, z_jitter_um=0, z_drift_um=0)
    assert not draw_motion(50, 15.0, params, Key.of(0)).any()
