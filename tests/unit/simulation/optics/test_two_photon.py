import numpy as np
import pytest
import torch
from pydantic import ValidationError

from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.lattice import Boxes
from napari_neurobridge.simulation.optics.shadow import VesselShadow
from napari_neurobridge.simulation.optics.two_photon import TwoPhotonCamera, TwoPhotonParams

KEY = Key.of(7)
QUIET = {"photons": 1e12, "read_noise": 0.0}
EVEN = {"neuropil": (0.0, 0.0), "scattering_um": 1e9}
BOX = Boxes.of([(0, 0, 0)], (10, 100, 100))


def camera(shadow=None, key=KEY, **changes) -> TwoPhotonCamera:
    return TwoPhotonCamera(TwoPhotonParams(**changes), key, top_um=80.0, shadow=shadow)


def nodes(camera: TwoPhotonCamera, boxes: Boxes, value: float = 0.0) -> torch.Tensor:
    return torch.full(camera.lumen_boxes(boxes).batch_shape, value)


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0, 3.0])
def test_noise_variance_follows_the_mean(level):
    image = camera(**EVEN, photons=40.0, read_noise=0.05).expose(
        torch.full(BOX.batch_shape, level), None, BOX
    )
    assert image.mean() == pytest.approx(level, abs=0.005)
    assert image.var() == pytest.approx(level / 40 + 0.05**2, rel=0.05)


def test_light_falls_exponentially_after_compensation():
    boxes = Boxes.of([(-10, 0, 0)], (300, 4, 4))
    density = torch.ones(boxes.batch_shape)
    params = {"scattering_um": 120.0, "power_compensation": 0.6}
    image = camera(**QUIET, neuropil=(0.0, 0.0), **params).expose(density, None, boxes)[0]
    z_um = 2.0 * torch.arange(-10, 290)
    slope, intercept = np.polyfit(z_um.numpy(), image.mean(dim=(1, 2)).log().numpy(), 1)
    assert slope == pytest.approx(-0.4 / 120, rel=1e-3)
    assert intercept == pytest.approx(0, abs=1e-3)


def test_axial_spread_grows_with_depth_and_stays_between_2_and_5_um():
    z_um = torch.tensor([-100.0, -80.0, 0.0, 420.0])
    for seed in range(20):
        sigma = camera(key=Key.of(seed)).sigma_um(z_um)
        surface = float(sigma[1, 0])
        assert 2 <= surface <= 4
        wanted = torch.tensor([surface, surface, surface * 1.04, surface * 1.25])
        assert torch.allclose(sigma[:, 0], wanted)
        assert sigma[:, 0].max() <= 5
        assert (sigma[:, 1:] >= 0.6).all() and (sigma[:, 1:] <= 1.0).all()
    assert camera(key=Key.of(0)).lateral_sigma_um != camera(key=Key.of(1)).lateral_sigma_um


def test_planes_shift_by_jitter_and_drift():
    moved = {"jitter_um": (0.2, 0.4, 0.3), "drift_um": (0.5, 1.0, 1.5), "drift_planes": 10.0}
    plane = torch.arange(20_000)
    shift = camera(**moved).plane_shift_um(plane)
    assert torch.allclose(shift.std(dim=0), torch.tensor([0.29, 1.16, 2.34]).sqrt(), rtol=0.05)
    related = (shift[1:] * shift[:-1]).mean(dim=0) / shift.var(dim=0)
    assert torch.allclose(related, torch.tensor([0.25, 1.0, 2.25]) / shift.var(dim=0), rtol=0.1)
    assert torch.equal(camera(**moved).plane_shift_um(plane[50:60]), shift[50:60])
    still = {"jitter_um": (0.0, 0.0, 0.0), "drift_um": (0.0, 0.0, 0.0)}
    assert not camera(**still).plane_shift_um(plane).any()


def test_neuropil_has_its_level_and_contrast():
    boxes = Boxes.of([(0, 0, 0)], (60, 150, 150))
    image = camera(**QUIET, scattering_um=1e9, neuropil=(0.4, 0.4), neuropil_contrast=0.2).expose(
        torch.zeros(boxes.batch_shape), None, boxes
    )
    assert image.mean() == pytest.approx(0.4, rel=0.02)
    assert image.std() / image.mean() == pytest.approx(0.2, rel=0.05)


def test_vessels_are_dark_and_bodies_keep_neuropil_out():
    microscope = camera(**QUIET, scattering_um=1e9, neuropil=(0.4, 0.4), neuropil_contrast=0.0)
    density = torch.ones(BOX.batch_shape)
    empty, full = nodes(microscope, BOX), nodes(microscope, BOX, 1.0)
    plain = microscope.expose(density, None, BOX)
    assert torch.allclose(plain, torch.full_like(plain, 1.4))
    assert torch.allclose(microscope.expose(density, empty, BOX, bodies=empty), plain)
    assert not microscope.expose(density, full, BOX).any()
    half = microscope.expose(density, full * 0.5, BOX)
    assert torch.allclose(half, torch.full_like(half, 0.7))
    body = microscope.expose(density, None, BOX, bodies=full)
    assert torch.allclose(body, density)


def test_the_shadow_of_a_vessel_lies_below_it():
    lumen = torch.zeros(10, 40, 40)
    lumen[3, :, 20] = 1.0
    shadow = VesselShadow(lumen, 4.0, (0.0, 0.0, 0.0), 0.1, 0.3)
    boxes = Boxes.of([(0, 60, 0)], (20, 20, 160))
    image = camera(shadow, **QUIET, **EVEN).expose(torch.ones(boxes.batch_shape), None, boxes)[0]
    profile = image.mean(dim=1)
    assert profile[:5].min() > 0.999
    assert profile[8, 80] < 0.9 and profile[8, 0] > 0.98
    darkness = 1 - profile
    widths = [(row > row.max() / 2).sum() for row in (darkness[8], darkness[16])]
    assert widths[1] > 1.4 * widths[0]


def test_any_box_has_the_same_voxels_to_the_last_bit():
    lumen = (torch.rand(20, 60, 60) > 0.95).float()
    microscope = camera(VesselShadow(lumen, 4.0, (-8.0, -8.0, -8.0), 0.04, 0.3))
    whole = Boxes.of([(-2, -3, -5)], (14, 220, 201))  # imaged in several pieces
    around = microscope.lumen_boxes(whole)
    density, vessels, bodies = (torch.rand(boxes.batch_shape) for boxes in (whole, around, around))
    image = microscope.expose(density, vessels, whole, bodies=bodies)[0]

    assert len(list(whole.pieces(density.device))) > 1
    parts = Boxes.of([(1, 20, 30), (-2, 160, 141)], (9, 33, 47))
    inner = microscope.lumen_boxes(parts)

    def cut(values: torch.Tensor, outer: Boxes, boxes: Boxes) -> torch.Tensor:
        pieces = []
        for start in boxes.starts:
            z, y, x = (a - b for a, b in zip(start, outer.starts[0], strict=True))
            d, h, w = boxes.shape
            # Nodes that no voxel of the part needs may lie beyond those of the whole.
            padded = torch.nn.functional.pad(values[0], (0, 3, 0, 3, 0, 3))
            pieces.append(padded[z : z + d, y : y + h, x : x + w])
        return torch.stack(pieces)

    again = microscope.expose(
        cut(density, whole, parts),
        cut(vessels, around, inner),
        parts,
        bodies=cut(bodies, around, inner),
    )
    assert torch.equal(again[0], image[3:12, 23:56, 35:82])
    assert torch.equal(again[1], image[0:9, 163:196, 146:193])


def test_sessions_differ_in_noise_and_repeat_with_their_key():
    density = torch.ones(BOX.batch_shape)
    first, again, other = (
        camera(key=Key.of(seed), **EVEN).expose(density, None, BOX) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert abs(np.corrcoef(first.flatten().numpy(), other.flatten().numpy())[0, 1]) < 0.02


@pytest.mark.parametrize("bad", [{"photons": 0}, {"power_compensation": 1.2}, {"phtons": 3}])
def test_senseless_parameters_are_refused(bad):
    with pytest.raises(ValidationError):
        TwoPhotonParams(**bad)
