from itertools import permutations

import numpy as np
import pytest
import torch

from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.lattice import Boxes
from napari_neurobridge.simulation.optics.fmost import FmostCamera, FmostParams

KEY = Key.of(5)
QUIET = {"photons": 1e12, "read_noise": 0.0}
PLAIN = {"section_step": 0.0, "stripes": 0.0, "shading": 0.0}
FLAT = {"background": 1.0, "background_contrast": 0.0}
BOX = Boxes.of([(0, 0, 0)], (10, 100, 100))


def camera(own_axes=(0, 1, 2), **changes) -> FmostCamera:
    return FmostCamera(FmostParams(**changes), KEY, own_axes)


def nothing(boxes: Boxes) -> torch.Tensor:
    return torch.zeros(boxes.batch_shape)


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0, 3.0])
def test_noise_variance_follows_the_mean(level):
    microscope = camera(**PLAIN, background=0.0, saturation=1e6, photons=40.0, read_noise=0.05)
    image = microscope.expose(torch.full(BOX.batch_shape, level), None, BOX)
    # float32 leaves 0.06 of a ceiling of a million.
    assert image.var() == pytest.approx(level / 40 + 0.05**2, rel=0.05)


def test_bright_fibres_saturate():
    microscope = camera(**QUIET, **PLAIN, background=0.0, saturation=0.5)
    density = torch.tensor([0.01, 0.5, 100.0]).repeat(3)[None, None, None]
    boxes = Boxes.of([(0, 0, 0)], (1, 1, 9))
    image = microscope.expose(density, None, boxes)[0, 0, 0, :3]
    wanted = 0.5 * (1 - torch.exp(-density[0, 0, 0, :3] / 0.5))
    assert torch.allclose(image, wanted, rtol=1e-4)
    assert image[0] == pytest.approx(0.01, rel=0.02)
    assert image[2] == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sections_differ_along_the_cut_whatever_axis_that_is(axis):
    own_axes = {0: (0, 1, 2), 1: (1, 0, 2), 2: (2, 1, 0)}[axis]
    microscope = camera(own_axes, **QUIET, **FLAT, section_step=0.2, stripes=0.0, shading=0.0)
    assert microscope.voxel_um[axis] == 2.0
    sigma = microscope.sigma_um(torch.zeros(3))
    assert torch.equal(sigma[0], torch.tensor([1.0 if a == axis else 0.6 for a in range(3)]))
    shape = [12, 12, 12]
    shape[axis] = 3000
    image = microscope.expose(nothing(Boxes.of([(0, 0, 0)], shape)), None, box_of(shape))[0]
    across = image.mean(dim=[a for a in range(3) if a != axis])
    assert across.log().std() == pytest.approx(0.2, rel=0.05)
    assert across.log().mean() == pytest.approx(0, abs=0.02)
    assert (image.movedim(axis, 0) - across[:, None, None]).abs().max() < 1e-4


def box_of(shape) -> Boxes:
    return Boxes.of([(0, 0, 0)], shape)


def test_a_section_keeps_its_gain_however_fine_the_voxels():
    gains = {"section_step": 0.2, "stripes": 0.0, "shading": 0.0}
    coarse = camera(**QUIET, **FLAT, **gains)
    fine = camera(**QUIET, **FLAT, **gains, voxel_um=(0.5, 0.65, 0.65))
    few = coarse.expose(nothing(box_of((20, 4, 4))), None, box_of((20, 4, 4)))[0, :, 0, 0]
    boxes = Boxes.of([(-2, 0, 0)], (80, 4, 4))  # the first section begins at -1 µm
    many = fine.expose(nothing(boxes), None, boxes)[0, :, 0, 0]
    assert torch.allclose(many.view(20, 4), few[:, None].expand(20, 4), atol=1e-4)


def test_stripes_run_along_own_x_and_shading_repeats_with_the_strips():
    stripes = camera(**QUIET, **FLAT, section_step=0.0, shading=0.0, stripes=0.1)
    boxes = box_of((2, 9000, 8))
    image = stripes.expose(nothing(boxes), None, boxes)[0]
    assert image[0, :, 0].std() == pytest.approx(0.1, rel=0.05)
    assert image.std(dim=2).max() < 1e-4 and image.std(dim=0).max() < 1e-4

    shading = camera(
        **QUIET, **FLAT, section_step=0.0, stripes=0.0, shading=0.3, strip_um=(325.0, 325.0)
    )
    boxes = box_of((2, 8, 2000))
    row = shading.expose(nothing(boxes), None, boxes)[0, 0, 0]
    assert row.max() == pytest.approx(1.0, abs=1e-3)
    assert row.min() == pytest.approx(0.7, abs=5e-3)
    assert row.mean() == pytest.approx(0.9, rel=0.01)  # 1 - 0.3 / 3
    assert torch.allclose(row[:500], row[500:1000], atol=1e-3)  # 325 µm are 500 voxels


def test_background_has_its_level_and_contrast():
    boxes = box_of((60, 150, 150))
    image = camera(**QUIET, **PLAIN, background=0.1, background_contrast=0.25).expose(
        nothing(boxes), None, boxes
    )
    assert image.mean() == pytest.approx(0.1, rel=0.02)
    assert image.std() / image.mean() == pytest.approx(0.25, rel=0.06)


def test_vessels_are_dark_and_bodies_hold_less_background():
    microscope = camera(
        **QUIET, **PLAIN, **FLAT, saturation=1e3, lumen_darkness=0.8, body_darkness=0.3
    )
    density = torch.ones(BOX.batch_shape)
    full = torch.ones(microscope.lumen_boxes(BOX).batch_shape)
    plain = microscope.expose(density, None, BOX)
    assert torch.allclose(microscope.expose(density, 0 * full, BOX, bodies=0 * full), plain)
    assert torch.allclose(microscope.expose(density, full, BOX), 0.2 * plain, rtol=1e-4)
    body = microscope.expose(density, None, BOX, bodies=full)
    assert torch.allclose(plain - body, torch.full_like(body, 0.3), atol=1e-3)


def test_the_order_of_axes_changes_nothing_but_the_order():
    own = camera()
    boxes = Boxes.of([(3, -4, 10), (0, 5, 6)], (8, 30, 40))
    density = torch.rand(boxes.batch_shape)
    lumen = torch.rand(own.lumen_boxes(boxes).batch_shape)
    image = own.expose(density, lumen, boxes, bodies=lumen)
    for own_axes in permutations(range(3)):
        order = [0, *(axis + 1 for axis in own_axes)]
        turned = camera(own_axes).expose(
            density.permute(order),
            lumen.permute(order),
            boxes.permuted(own_axes),
            bodies=lumen.permute(order),
        )
        assert torch.equal(turned, image.permute(order))


def test_any_box_has_the_same_voxels_to_the_last_bit():
    whole = Boxes.of([(-2, -3, -5)], (14, 220, 201))  # imaged in several pieces
    density = torch.rand(whole.batch_shape)
    for own_axes in ((0, 1, 2), (2, 0, 1)):
        microscope = camera(own_axes)
        image = microscope.expose(density, None, whole)[0]
        parts = Boxes.of([(1, 20, 30), (-2, 7, 41)], (9, 33, 47))
        where = [np.s_[3:12, 23:56, 35:82], np.s_[0:9, 10:43, 46:93]]
        again = microscope.expose(torch.stack([density[0][w] for w in where]), None, parts)
        for part, place in zip(again, where, strict=True):
            assert torch.equal(part, image[place])
