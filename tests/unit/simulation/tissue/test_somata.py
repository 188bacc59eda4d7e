import re

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.tissue.somata import (
    MOUSE_CORTEX,
    Layer,
    TissueParams,
    place_somata,
)
from napari_neurobridge.simulation.tissue.vasculature import VesselParams, grow_vessels

LOW = (0.0, 0.0, 0.0)
EVEN = (Layer(bottom_um=900.0, density=1.0, pyramidal=0.8, soma_radius_um=(5.0, 7.0)),)


def test_the_mean_over_the_cortex_is_the_stated_density():
    somata = place_somata(LOW, (900.0, 500.0, 500.0), 0.0, TissueParams(), Key.of(0))
    assert len(somata) / (0.9 * 0.5 * 0.5) == pytest.approx(
        TissueParams().density_per_mm3, rel=0.03
    )
    halves = np.bincount((somata.center_um[:, 1] > 250).long().numpy()) / len(somata)
    assert halves == pytest.approx(0.5, abs=0.08)


def test_layers_have_their_densities_cells_and_sizes():
    params = TissueParams(cluster_strength=0.0)
    somata = place_somata((-300.0, 0.0, 0.0), (600.0, 800.0, 800.0), 300.0, params, Key.of(1))
    assert somata.depth_um.numpy() == pytest.approx(somata.center_um[:, 0].numpy() + 300, abs=1e-3)
    layer = params.layer_at(somata.depth_um.numpy())
    volume_mm3 = np.diff([0, *(item.bottom_um for item in MOUSE_CORTEX)]) * 0.64e-3
    relative = np.array([item.density for item in MOUSE_CORTEX])
    density = np.bincount(layer) / volume_mm3
    assert density / density.mean() == pytest.approx(relative / relative.mean(), rel=0.06, abs=0.02)
    for index, item in enumerate(MOUSE_CORTEX):
        own = layer == index
        assert somata.pyramidal[own].float().mean() == pytest.approx(item.pyramidal, abs=0.03)
        low, high = item.soma_radius_um
        assert low <= somata.radius_um[own].min() and somata.radius_um[own].max() <= high


def test_a_block_has_the_density_of_the_layers_that_it_cuts():
    # What the whole cortex has on average is this many in layer 4.
    thickness = np.diff([0, *(item.bottom_um for item in MOUSE_CORTEX)])
    mean = (thickness * [item.density for item in MOUSE_CORTEX]).sum() / 900
    somata = place_somata(LOW, (100.0, 300.0, 300.0), 350.0, TissueParams(), Key.of(2))
    assert len(somata) == round(TissueParams().density_per_mm3 * 1.5 / mean * 0.1 * 0.3 * 0.3)


def test_nothing_lies_above_the_surface():
    somata = place_somata(
        (-100.0, 0.0, 0.0), (200.0, 200.0, 200.0), 50.0, TissueParams(), Key.of(3)
    )
    assert somata.center_um[:, 0].min() >= -50.0
    assert somata.depth_um.min() >= 0.0


def test_somata_keep_their_distance_and_do_not_overlap():
    params = TissueParams(density_per_mm3=50_000.0, min_distance_um=12.0, cluster_strength=0.6)
    somata = place_somata(LOW, (300.0, 200.0, 200.0), 400.0, params, Key.of(4))
    center, radius = somata.center_um.double().numpy(), somata.radius_um.double().numpy()
    assert (center >= 0).all() and (center <= (300, 200, 200)).all()
    apart = pdist(center)
    sums = (radius[:, None] + radius)[np.triu_indices(len(radius), 1)]
    assert apart.min() >= 12.0 - 1e-4
    assert (apart - sums).min() >= -1e-4


def pair_counts(center: np.ndarray, radii: list[float]) -> np.ndarray:
    tree = cKDTree(center)
    return np.diff(tree.count_neighbors(tree, radii))


def counted_pairs(params: TissueParams, seeds: range, radii: list[float]) -> np.ndarray:
    tables = (place_somata(LOW, (500.0,) * 3, 100.0, params, Key.of(seed)) for seed in seeds)
    return sum(pair_counts(somata.center_um.numpy(), radii) for somata in tables)


def test_clusters_have_the_stated_strength_and_size():
    # Points rather than cells, which would push each other out of the way.
    points = EVEN[0].model_copy(update={"soma_radius_um": (0.5, 0.5)})
    even = TissueParams(layers=(points,), min_distance_um=1.0, cluster_strength=0.0)
    clustered = even.model_copy(update={"cluster_strength": 0.6, "cluster_um": 45.0})
    radii = [10.0, 20.0, 40.0, 50.0, 75.0, 85.0, 140.0, 160.0]
    ratio = counted_pairs(clustered, range(12), radii) / counted_pairs(even, range(12), radii)
    # Pairs in a log-normal field: the exponential of its covariance.
    middle = np.array([15.0, 45.0, 80.0, 150.0])
    expected = np.exp(0.6**2 * np.exp(-(middle**2) / (2 * 45.0**2)))
    assert ratio[::2] == pytest.approx(expected, rel=0.06)


def test_cells_that_need_room_still_form_clusters():
    params = TissueParams(layers=EVEN, cluster_strength=0.6, cluster_um=45.0)
    even = params.model_copy(update={"cluster_strength": 0.0})
    radii = [18.0, 30.0, 180.0, 220.0]
    ratio = counted_pairs(params, range(4), radii) / counted_pairs(even, range(4), radii)
    assert ratio[0] > 1.15
    assert ratio[2] == pytest.approx(1, abs=0.05)


def test_somata_keep_out_of_vessels():
    high = (250.0, 300.0, 300.0)
    vessels = grow_vessels(LOW, high, 150.0, VesselParams(), Key.of(5))
    somata = place_somata(LOW, high, 150.0, TissueParams(), Key.of(5), vessels=vessels)
    clearance = vessels.clearance_um(somata.center_um)
    assert (clearance - somata.radius_um.numpy()).min() >= -1e-3
    alone = place_somata(LOW, high, 150.0, TissueParams(), Key.of(5))
    assert (vessels.clearance_um(alone.center_um) < alone.radius_um.numpy()).sum() > 20
    assert len(somata) == len(alone)


def test_a_table_is_a_function_of_its_key():
    one, again, other = (
        place_somata(LOW, (100.0,) * 3, 200.0, TissueParams(), Key.of(seed)) for seed in (1, 1, 2)
    )
    assert one.center_um.equal(again.center_um) and one.radius_um.equal(again.radius_um)
    assert one.pyramidal.equal(again.pyramidal)
    assert not one.center_um.equal(other.center_um)


@pytest.mark.parametrize(
    "params",
    [
        TissueParams(density_per_mm3=1e9),
        TissueParams(density_per_mm3=30_000.0, min_distance_um=40.0),
        # Passes the first check, but no room is found in the clusters.
        TissueParams(density_per_mm3=57_000.0, cluster_strength=2.0, cluster_um=120.0),
    ],
)
def test_a_density_that_does_not_fit_is_refused_with_one_that_does(params):
    high = (200.0, 250.0, 250.0)
    with pytest.raises(InputError, match="ask for at most") as raised:
        place_somata(LOW, high, 200.0, params, Key.of(6))
    fitting = float(re.search(r"at most (\S+)", str(raised.value))[1])
    assert 0 < fitting < params.density_per_mm3
    params = params.model_copy(update={"density_per_mm3": fitting})
    assert len(place_somata(LOW, high, 200.0, params, Key.of(6))) > 1


def test_a_block_without_tissue_is_refused():
    with pytest.raises(InputError, match="below the surface"):
        place_somata((-90.0, 0.0, 0.0), (-40.0, 50.0, 50.0), 30.0, TissueParams(), Key.of(0))


@pytest.mark.parametrize(
    "layers",
    [(), MOUSE_CORTEX[::-1], (EVEN[0].model_copy(update={"density": 0.0}),)],
)
def test_layers_that_make_no_cortex_are_refused(layers):
    with pytest.raises(ValidationError):
        TissueParams(layers=layers)
