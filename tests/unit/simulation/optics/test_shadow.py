import math

import pytest
import torch

from napari_neurobridge.simulation.lattice import Boxes
from napari_neurobridge.simulation.optics.shadow import VesselShadow

STEP = 4.0


def sample(shadow: VesselShadow, start=(0, 0, 0), shape=(40, 1, 60)) -> torch.Tensor:
    return shadow.at(Boxes.of([start], shape), (STEP, STEP, STEP))[0]


def test_below_a_vessel_the_shadow_is_a_lorentzian_that_widens_with_depth():
    lumen = torch.zeros(60, 160, 161)
    lumen[4, :, 80] = 1.0  # one thin vessel along y
    spread, absorption = 0.5, 0.04
    shadow = VesselShadow(lumen, STEP, (0.0, 0.0, 0.0), absorption, spread)
    depth = -sample(shadow, (0, 80, 0), (60, 1, 161))[:, 0].log()
    assert depth[:4].abs().max() < 1e-6
    x = (torch.arange(161) - 80) * STEP
    for below in (8, 14, 20):
        width = spread * below * STEP
        wanted = absorption * STEP * STEP * width / math.pi / (x**2 + width**2)
        near = x.abs() <= 2 * width
        assert torch.allclose(depth[4 + below][near], wanted[near], rtol=0.05)


def test_under_a_layer_of_blood_light_falls_exponentially_with_its_thickness():
    lumen = torch.zeros(30, 200, 200)
    lumen[5:10] = 1.0
    shadow = VesselShadow(lumen, STEP, (0.0, 0.0, 0.0), 0.02, 0.1)
    column = sample(shadow, (0, 100, 100), (30, 1, 1))[:, 0, 0]
    assert column[0] == pytest.approx(1)
    assert column[7] == pytest.approx(math.exp(-0.02 * 2.5 * STEP), rel=0.01)
    assert column[12] == pytest.approx(math.exp(-0.02 * 5 * STEP), rel=0.01)


def test_places_are_micrometres_and_beyond_the_block_the_edge_goes_on():
    lumen = torch.zeros(10, 20, 20)
    lumen[2, 10, 10] = 1.0
    here = VesselShadow(lumen, STEP, (0.0, 0.0, 0.0), 0.1, 0.2)
    moved = VesselShadow(lumen, STEP, (-20.0, 8.0, 400.0), 0.1, 0.2)
    box = Boxes.of([(0, 0, 0)], (20, 76, 76))
    shifted = Boxes.of([(-20, 8, 400)], (20, 76, 76))
    fine = (1.0, 1.0, 1.0)
    assert torch.equal(here.at(box, fine), moved.at(shifted, fine))
    far = sample(here, (0, 10, 10), (40, 1, 1))[:, 0, 0]
    assert torch.equal(far[10:], far[9].expand(30))


def test_a_block_off_the_lattice_is_refused():
    with pytest.raises(ValueError, match="multiple of the step"):
        VesselShadow(torch.zeros(3, 3, 3), STEP, (1.0, 0.0, 0.0), 0.1, 0.2)
