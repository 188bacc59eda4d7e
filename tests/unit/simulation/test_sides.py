import numpy as np
import pytest
import torch

from napari_neurobridge.simulation.deformation.deformation import Deformation, draw_deformation
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.levels import Difficulty
from napari_neurobridge.simulation.neurons.sources import neuron_factory
from napari_neurobridge.simulation.render import Box
from napari_neurobridge.simulation.sides import ImagedSpecimen, ex_vivo_side, in_vivo_side
from napari_neurobridge.simulation.tissue.tissue import Tissue, make_tissue
from napari_neurobridge.spaces.affine import Affine

LOW, HIGH = (0.0, 0.0, 0.0), (80.0, 100.0, 100.0)
QUIET = Difficulty().changed(
    tissue={"top_um": (150.0, 200.0)},
    two_photon={
        "photons": 1e9,
        "read_noise": 0.0,
        "neuropil": (1.0, 1.0),
        "neuropil_contrast": 0.0,
        "power_compensation": 1.0,
        "drift_um": (0, 0, 0),
        "jitter_um": (0, 0, 0),
    },
    two_photon_label={"visible_fraction": 0.0},
    two_photon_clutter={"puncta_per_mm3": 0.0, "fibres_m_per_mm3": 0.0},
)
ANIMAL = Key.of(1)


@pytest.fixture(scope="module")
def tissue() -> Tissue:
    return make_tissue(
        LOW,
        HIGH,
        QUIET.tissue,
        QUIET.vessels,
        neuron_factory(QUIET.morphology),
        Key.of(2),
    )


def deformation(tissue: Tissue, difficulty: Difficulty = QUIET, seed: int = 4) -> Deformation:
    affine = Affine.from_linear(np.eye(3), (0.0, 0.0, 0.0), source="tissue", target="fmost")
    return draw_deformation(affine, difficulty.misfit, Key.of(seed), LOW, HIGH, tissue.top_um)


def in_vivo(
    tissue: Tissue, difficulty: Difficulty = QUIET, animal: Key = ANIMAL, seed: int = 3
) -> ImagedSpecimen:
    return in_vivo_side(tissue, difficulty, animal, Key.of(seed), (LOW, HIGH))


def ex_vivo(
    tissue: Tissue, difficulty: Difficulty = QUIET, animal: Key = ANIMAL, seed: int = 3
) -> ImagedSpecimen:
    return ex_vivo_side(tissue, difficulty, animal, Key.of(seed), deformation(tissue))


def photograph(side: ImagedSpecimen) -> torch.Tensor:
    return side.photograph(Box((0, 0, 0), (36, 90, 90), side.camera.voxel_um))


def test_each_side_has_its_own_label_camera_and_clutter(tissue):
    sides = in_vivo(tissue), ex_vivo(tissue)
    assert sides[0].camera.voxel_um == QUIET.two_photon.voxel_um
    assert sides[1].camera.voxel_um == QUIET.fmost.voxel_um
    assert not sides[0].specimen.label.visible.any()
    assert sides[1].specimen.label.visible.float().mean() > 0.4
    low, high = torch.zeros(3), torch.full((3,), 90.0)
    assert len(sides[0].specimen.clutter.cloud(low, high)) == 0
    assert len(sides[1].specimen.clutter.cloud(low, high)) > 0


def test_the_ex_vivo_volume_may_have_axes_of_its_own(tissue):
    z, y, x = QUIET.fmost.voxel_um
    turned = ex_vivo_side(tissue, QUIET, ANIMAL, Key.of(3), deformation(tissue), (2, 0, 1))
    assert turned.camera.voxel_um == (x, z, y)


def test_the_animal_decides_who_is_labelled_and_the_sessions_do_not(tissue):
    difficulty = QUIET.changed(
        two_photon_label={"visible_fraction": 0.5},
        fmost_label={"labelled_fraction": 0.5, "coexpression": 1.0},
    )
    first = in_vivo(tissue, difficulty).specimen.label
    for other in (
        in_vivo(tissue, difficulty, seed=8).specimen.label,
        ex_vivo(tissue, difficulty, seed=9).specimen.label,
    ):
        assert torch.equal(other.visible, first.visible)
    another = in_vivo(tissue, difficulty, animal=Key.of(7)).specimen.label
    assert not torch.equal(another.visible, first.visible)


def test_a_session_changes_noise_and_scan_but_not_the_cells(tissue):
    places, images = [], []
    for seed in (3, 8):
        side = in_vivo(tissue, Difficulty(), seed=seed)
        places.append(side.specimen.warp.map_tensor(tissue.somata.center_um))
        images.append(photograph(side))
    assert not torch.equal(*images)
    assert 0.01 < float((places[0] - places[1]).norm(dim=1).max()) < 40


@pytest.fixture(scope="module")
def in_light_and_shadow(tissue) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of neuropil alone through blood that is clear, and that takes light."""
    clear, dark = (
        photograph(in_vivo(tissue, QUIET.changed(two_photon={"absorption_per_um": value})))
        for value in (0.0, 0.05)
    )
    return clear, dark


def test_vessels_take_light_from_what_lies_below(in_light_and_shadow):
    clear, dark = in_light_and_shadow
    assert (dark <= clear + 1e-4).all()
    passed = dark.mean() / clear.mean()
    assert 0.2 < passed < 0.99
    # The deeper, the more blood lies above, on average.
    by_plane = dark.mean(dim=(1, 2)) / clear.mean(dim=(1, 2))
    assert by_plane[-6:].mean() < by_plane[:6].mean()


def test_vessels_above_the_volume_cast_their_shadow_too(in_light_and_shadow):
    clear, dark = in_light_and_shadow
    assert float((dark[0] / clear[0]).mean()) < 0.99


def test_neuropil_is_dark_in_vessels_and_in_silent_cells(tissue, in_light_and_shadow):
    side, clear = in_vivo(tissue), in_light_and_shadow[0]
    voxel = torch.tensor(side.camera.voxel_um)
    upper = voxel * (torch.tensor(clear.shape) - 1)
    lumen = side.specimen.lumen(torch.zeros(3), upper).within(torch.zeros(3), upper)
    thick = clear[tuple((lumen.position_um / voxel).round().long().T)]
    centers = side.specimen.warp.map_tensor(tissue.somata.center_um)
    inside = ((centers > 4) & (centers < upper - 4)).all(dim=1)
    bodies = clear[tuple((centers[inside] / voxel).round().long().T)]
    level = clear.median()
    assert thick.mean() < 0.7 * level
    assert bodies.median() < 0.5 * level


def test_the_other_side_leaves_no_trace(tissue):
    """A side is the same whatever befalls the other."""
    bent = QUIET.changed(misfit={"nonrigid_um": 6.0}, fmost={"background": 0.5})
    assert torch.equal(photograph(in_vivo(tissue)), photograph(in_vivo(tissue, bent)))
    noisy = QUIET.changed(two_photon={"photons": 2.0}, two_photon_label={"visible_fraction": 0.9})
    assert torch.equal(photograph(ex_vivo(tissue)), photograph(ex_vivo(tissue, noisy)))
