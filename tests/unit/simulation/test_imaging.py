from itertools import permutations

import numpy as np
import pytest
import torch

from napari_neurobridge.simulation import imaging
from napari_neurobridge.simulation.deformation.deformation import (
    Deformation,
    draw_deformation,
    residual_linear,
)
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.levels import Difficulty
from napari_neurobridge.simulation.neurons.sources import neuron_factory
from napari_neurobridge.simulation.render import Box
from napari_neurobridge.simulation.sides import ImagedSpecimen, ex_vivo_side, in_vivo_side
from napari_neurobridge.simulation.tissue.tissue import Tissue, make_tissue
from napari_neurobridge.spaces.affine import Affine

LOW, HIGH = (0.0, 0.0, 0.0), (70.0, 110.0, 90.0)
# All that an image can show, and much of it.
FULL = Difficulty().changed(
    two_photon={"drift_um": (1.5, 1.5, 1.5), "drift_planes": 4.0},
    fmost={"section_step": 0.2, "stripes": 0.1, "shading": 0.5},
    fmost_label={"cut_fraction": 0.3},
    misfit={"nonrigid_um": 4.0, "tears_per_mm3": 300.0},
)
BARE = FULL.changed(
    fmost={"section_step": 0.0, "stripes": 0.0, "shading": 0.0, "background": 0.0},
    fmost_clutter={"puncta_per_mm3": 0.0, "fibres_m_per_mm3": 0.0},
)
# A hundredth of a grey level of a stored image.
SAME = 1e-5
PARTS = [((0, 0, 0), (3, 17, 11)), ((7, 13, 22), (9, 20, 31)), ((15, 44, 3), (1, 6, 40))]


@pytest.fixture(scope="module")
def tissue() -> Tissue:
    return make_tissue(
        LOW,
        HIGH,
        FULL.tissue,
        FULL.vessels,
        neuron_factory(FULL.morphology),
        Key.of(5),
    )


def deformation(tissue: Tissue, axes: tuple[int, int, int] = (0, 1, 2)) -> Deformation:
    """Return one deformation; the target's axes are in the order asked for."""
    linear = residual_linear(FULL.misfit, Key.of(6))[list(axes)]
    affine = Affine.from_linear(linear, (0.0, 0.0, 0.0), source="tissue", target="fmost")
    return draw_deformation(affine, FULL.misfit, Key.of(7), LOW, HIGH, tissue.top_um)


def in_vivo(tissue: Tissue, difficulty: Difficulty = FULL) -> ImagedSpecimen:
    return in_vivo_side(tissue, difficulty, Key.of(1), Key.of(2), (LOW, HIGH))


def ex_vivo(
    tissue: Tissue, own_axes: tuple[int, int, int], difficulty: Difficulty = FULL
) -> ImagedSpecimen:
    return ex_vivo_side(tissue, difficulty, Key.of(1), Key.of(3), deformation(tissue), own_axes)


def box_of(side: ImagedSpecimen, start: tuple[int, int, int], shape: tuple[int, int, int]) -> Box:
    return Box(start, shape, side.camera.voxel_um)


def whole_and_parts(side: ImagedSpecimen) -> None:
    start = (4, 20, 18)
    whole = side.photograph(box_of(side, start, (24, 60, 56)))
    assert whole.std() > 0.05
    for offset, shape in PARTS:
        z, y, x = (s + o for s, o in zip(start, offset, strict=True))
        part = side.photograph(box_of(side, (z, y, x), shape))
        same = whole[tuple(slice(o, o + n) for o, n in zip(offset, shape, strict=True))]
        torch.testing.assert_close(part, same, atol=SAME, rtol=0)


def test_any_box_is_the_part_of_a_larger_one_in_vivo(tissue):
    whole_and_parts(in_vivo(tissue))


@pytest.mark.parametrize("own_axes", list(permutations(range(3))))
def test_any_box_is_the_part_of_a_larger_one_ex_vivo(tissue, own_axes):
    whole_and_parts(ex_vivo(tissue, own_axes))


@pytest.mark.parametrize("voxels", [1, 7 * 60 * 56])
@pytest.mark.parametrize("which", [in_vivo, lambda tissue: ex_vivo(tissue, (1, 2, 0))])
def test_how_thick_the_slabs_are_makes_no_difference(tissue, monkeypatch, which, voxels):
    side = which(tissue)
    box = box_of(side, (2, 20, 18), (24, 60, 56))
    at_once = side.photograph(box)
    monkeypatch.setattr(imaging, "_VOXELS_AT_ONCE", {"cpu": voxels})
    torch.testing.assert_close(side.photograph(box), at_once, atol=SAME, rtol=0)


def test_an_image_is_a_function_of_the_keys(tissue):
    box = box_of(in_vivo(tissue), (5, 30, 30), (6, 20, 20))
    assert torch.equal(in_vivo(tissue).photograph(box), in_vivo(tissue).photograph(box))
    other = in_vivo_side(tissue, FULL, Key.of(1), Key.of(9), (LOW, HIGH))
    assert not torch.equal(in_vivo(tissue).photograph(box), other.photograph(box))


def test_turned_tissue_gives_a_turned_image(tissue):
    """What depends on the axes of the image is only which of them the microscope cuts along."""
    silent = BARE.changed(fmost={"photons": 1e9, "read_noise": 0.0})
    straight = ex_vivo_side(tissue, silent, Key.of(1), Key.of(3), deformation(tissue))
    # Axis k of the turned image is axis `axes[k]` of the other, with its voxels.
    axes = (2, 0, 1)
    turned = ex_vivo_side(tissue, silent, Key.of(1), Key.of(3), deformation(tissue, axes), axes)
    start, shape = (6, 40, 30), (12, 50, 40)
    image = straight.photograph(box_of(straight, start, shape)).permute(axes)
    other = turned.photograph(
        box_of(turned, tuple(start[a] for a in axes), tuple(shape[a] for a in axes))
    )
    assert image.max() > 0.2
    torch.testing.assert_close(other, image, atol=2e-3, rtol=0)


def test_a_box_far_from_all_tissue_shows_background_only(tissue):
    side = ex_vivo(tissue, (0, 1, 2), BARE)
    image = side.photograph(box_of(side, (500, 3000, 3000), (4, 30, 30)))
    assert abs(float(image.mean())) < 0.01
    assert float(image.std()) == pytest.approx(BARE.fmost.read_noise, rel=0.1)


def test_moving_planes_show_what_lies_elsewhere(tissue):
    """A plane of the stack is the plane of a still one, moved as the camera says it was."""
    still = FULL.changed(
        two_photon={
            "drift_um": (0, 0, 0),
            "jitter_um": (0, 0, 0),
            "neuropil": (0, 0),
            "photons": 1e9,
            "read_noise": 0.0,
        }
    )
    moving = still.changed(two_photon={"drift_um": (0, 3.0, 3.0), "jitter_um": (0, 0, 0)})
    sides = [in_vivo(tissue, difficulty) for difficulty in (still, moving)]
    box = box_of(sides[0], (0, 20, 18), (30, 60, 56))
    images = [side.photograph(box).numpy() for side in sides]
    shift = sides[1].camera.plane_shift_um(torch.arange(30)).numpy()
    assert (shift[:, 0] == 0).all()
    brightest = np.argsort(images[0].max(axis=(1, 2)))[-8:]
    for plane in brightest:
        spectrum = np.fft.fft2(images[1][plane]) * np.conj(np.fft.fft2(images[0][plane]))
        correlation = np.fft.fftshift(np.fft.ifft2(spectrum).real)
        peak = np.unravel_index(correlation.argmax(), correlation.shape) - np.array((30, 28))
        # What is shifted against the other image by -s lies at +s in the tissue.
        np.testing.assert_allclose(-peak, shift[plane, 1:], atol=1.5)
