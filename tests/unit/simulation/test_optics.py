import numpy as np
import pytest
import torch

from napari_neurobridge.simulation.levels import FmostParams, TissueParams, TwoPhotonParams
from napari_neurobridge.simulation.morphology import Part
from napari_neurobridge.simulation.optics import (
    FmostCamera,
    TwoPhotonCamera,
    label_fmost,
    label_two_photon,
)
from napari_neurobridge.simulation.render import Grid
from napari_neurobridge.simulation.tissue import Tissue, make_tissue

LOW, HIGH = (0.0, 0.0, 0.0), (60.0, 200.0, 200.0)
GRID = Grid((8, 60, 60), (2.0, 1.0, 1.0))
ORIGIN = torch.zeros(1, 3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def tissue() -> Tissue:
    return make_tissue(LOW, HIGH, TissueParams(), np.random.default_rng(0))


def test_silent_cells_emit_nothing_and_the_share_is_right(tissue):
    label = label_two_photon(tissue, TwoPhotonParams(visible_fraction=0.5), generator())
    cell = tissue.morphology.cell
    assert not label.amount[~label.visible[cell]].any()
    assert 0.3 < label.visible.float().mean() < 0.7


def test_indicator_is_missing_in_the_nucleus_only(tissue):
    params = TwoPhotonParams(visible_fraction=1.0, brightness_sigma=0.0, nuclear_exclusion=0.9)
    label = label_two_photon(tissue, params, generator())
    cells = tissue.morphology
    density = label.amount / cells.volume_um3
    soma = cells.part == Part.SOMA
    inside = soma & (cells.reach < params.nucleus_radius)
    assert density[inside].mean() == pytest.approx(0.1, rel=1e-4)
    assert density[soma & ~inside].mean() == pytest.approx(1.0, rel=1e-4)


def test_structural_label_fills_the_soma_and_a_cut_spares_it(tissue):
    params = FmostParams(labelled_fraction=1.0, brightness_sigma=0.0, cut_fraction=1.0)
    cut = label_fmost(tissue, params, generator())
    whole = label_fmost(tissue, params.model_copy(update={"cut_fraction": 0.0}), generator())
    cells = tissue.morphology
    soma = cells.part == Part.SOMA
    near = soma & (cells.reach < 0.7)
    assert torch.equal(cut.amount[near], whole.amount[near])
    assert (cut.amount[~soma] > 0).float().mean() < 0.8
    assert (whole.amount > 0).all()


def test_brightness_of_a_cell_is_unrelated_between_the_sides():
    many = make_tissue(LOW, (60.0, 500.0, 500.0), TissueParams(), np.random.default_rng(3))
    in_vivo = label_two_photon(many, TwoPhotonParams(visible_fraction=1.0), generator(1))
    ex_vivo = label_fmost(many, FmostParams(labelled_fraction=1.0), generator(2))
    soma = many.morphology.part == Part.SOMA
    totals = [
        torch.bincount(
            many.morphology.cell[soma], weights=side.amount[soma] / many.morphology.volume_um3[soma]
        )
        for side in (in_vivo, ex_vivo)
    ]
    assert abs(np.corrcoef(torch.stack(totals).log().numpy())[0, 1]) < 0.2


@pytest.mark.parametrize("side", ["two_photon", "fmost"])
def test_noise_variance_grows_in_proportion_to_the_signal(side):
    if side == "two_photon":
        params = TwoPhotonParams(
            neuropil=(0.0, 0.0),
            vessels_per_mm=0.0,
            scattering_um=1e9,
            photons=40.0,
            read_noise=0.05,
        )
        camera = TwoPhotonCamera(LOW, HIGH, params, generator())
    else:
        params = FmostParams(
            background=0.0,
            section_step=0.0,
            stripes=0.0,
            shading=0.0,
            saturation=1e6,
            photons=40.0,
            read_noise=0.05,
        )
        camera = FmostCamera(params, generator())
    levels = torch.tensor([0.0, 0.5, 1.0, 2.0])
    variances = [
        float(camera.expose(torch.full((1, *GRID.shape), float(v)), ORIGIN, GRID).var())
        for v in levels
    ]
    expected = levels / 40.0 + 0.05**2
    assert variances == pytest.approx(expected.tolist(), rel=0.05)


def test_vessels_darken_a_column_through_all_depths():
    params = TwoPhotonParams(
        vessels_per_mm=20.0,
        vessel_depth=(0.8, 0.8),
        neuropil=(1.0, 1.0),
        neuropil_contrast=0.0,
        scattering_um=1e9,
        photons=1e9,
        read_noise=0.0,
    )
    camera = TwoPhotonCamera(LOW, HIGH, params, generator(4))
    grid = Grid((5, 200, 200), (10.0, 1.0, 1.0))
    image = camera.expose(torch.zeros(1, *grid.shape), ORIGIN, grid)[0]
    assert image.min() < 0.35 and image.max() > 0.9
    assert torch.allclose(image[0], image[-1], atol=1e-3)


def test_sections_differ_along_the_cut_whatever_axis_that_is():
    params = FmostParams(
        background=1.0,
        background_contrast=0.0,
        section_step=0.2,
        stripes=0.0,
        shading=0.0,
        photons=1e9,
        read_noise=0.0,
    )
    for axis, own_axes in ((0, (0, 1, 2)), (1, (1, 0, 2)), (2, (2, 1, 0))):
        camera = FmostCamera(params, generator(5), own_axes)
        assert camera.step_um[axis] == params.voxel_um[0]
        assert camera.sigma_um[axis] == params.axial_sigma_um
        grid = Grid((20, 20, 20), camera.step_um)
        image = camera.expose(torch.zeros(1, *grid.shape), ORIGIN, grid)[0]
        across = image.mean(dim=[a for a in range(3) if a != axis])
        assert across.std() > 0.1
        assert image.std(dim=axis).std() < 1e-3


def test_background_is_the_same_wherever_the_image_is_cut_from():
    params = TwoPhotonParams(photons=1e9, read_noise=0.0)
    camera = TwoPhotonCamera(LOW, HIGH, params, generator(6))
    # One period of the grain, so that the smaller image starts on a sample of it.
    grid = Grid((10, 40, 40), (2.5, 1.25, 1.25))
    part = Grid((6, 20, 20), grid.step_um)
    whole = camera.expose(torch.zeros(1, *grid.shape), ORIGIN, grid)[0]
    shifted = camera.expose(torch.zeros(1, *part.shape), torch.tensor([[10.0, 12.5, 12.5]]), part)[
        0
    ]
    assert torch.allclose(whole[4:, 10:30, 10:30], shifted, atol=1e-3)
