"""Detection on a simulated scene at its default difficulty, against the known truth."""

import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from napari_neurobridge.detection.dog import DogParams, detect_somata
from napari_neurobridge.detection.hits import count_hits
from napari_neurobridge.io.volumes import open_volume
from napari_neurobridge.simulation.scene_files import simulate_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    return simulate_scene(folder, seed=11, size_um=(120.0, 240.0, 240.0))


def _truth(scene, side):
    table = pd.read_csv(scene.truth)
    seen = table[f"in_{side}"].astype(bool)
    return table.loc[seen, [f"{side}_{axis}_um" for axis in "zyx"]].to_numpy()


def test_fmost_somata_are_found(scene):
    found = detect_somata(open_volume(scene.fmost, name="fmost")).centers_um
    truth = _truth(scene, "fmost")
    assert 2 * count_hits(truth, found) / (len(truth) + len(found)) >= 0.85


def test_what_is_found_on_the_two_photon_side_is_somata(scene):
    # Brightness varies by a factor of e there: dim cells stay in the background.
    truth = _truth(scene, "two_photon")
    found = detect_somata(open_volume(scene.two_photon, name="two_photon")).centers_um
    assert (cdist(found, truth).min(axis=1) < 5.0).mean() >= 0.65
    assert len(found) >= 0.3 * len(truth)


def test_the_same_somata_for_two_block_sizes(scene):
    volume = open_volume(scene.fmost, name="fmost")
    first = detect_somata(volume, DogParams(block_um=70.0)).centers_um
    second = detect_somata(volume, DogParams(block_um=250.0)).centers_um
    assert len(first) == len(second) > 50
    assert cdist(first, second).min(axis=1).max() < 0.1
