import pytest

from napari_neurobridge.benchmarks import ablation_geometry
from napari_neurobridge.benchmarks.ablation_geometry import crop_motion
from napari_neurobridge.simulation.levels import level


@pytest.fixture(autouse=True)
def few_blocks(monkeypatch):
    monkeypatch.setattr(ablation_geometry, "_BLOCKS", 4)
    monkeypatch.setattr(ablation_geometry, "_CELLS", 16)


def test_what_both_levels_draw_alike_cancels():
    paper = level("paper")
    motion = crop_motion(paper, paper.changed(two_photon={"photons": 5.0}), seed=0)
    assert (motion.rms_um, motion.share) == (0, 0)


def test_more_and_wider_tears_move_more():
    whole = level("paper").changed(misfit={"tears_per_mm3": 0.0})
    few, many = (
        crop_motion(whole.changed(misfit={"tears_per_mm3": n, "tear_opening_um": w}), whole, seed=0)
        for n, w in ((100.0, 4.0), (200.0, 15.0))
    )
    assert 0 < few.rms_um < many.rms_um
    assert few.share < many.share


def test_a_window_moves_by_its_stretch_over_the_slab():
    none = {"dimple_um": 0.0, "compression": 0.0, "tears_per_mm3": 0.0, "nonrigid_um": 0.0}
    flat = level("paper").changed(misfit=none)
    pressed = flat.changed(misfit={"compression": 0.5, "window_decay_um": 1e5})
    # The stretch, drawn from 0 to 0.5, times the depth within the slab, whose SD is 30 / sqrt(12).
    expected = 0.5 / 3**0.5 * 30 / 12**0.5
    motion = crop_motion(pressed, flat, seed=0)
    assert motion.rms_um == pytest.approx(expected, rel=0.5)
    assert motion.share > 0.5
