"""Images drawn from simulated volumes, and the truth that comes with them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.simulation.levels import level
from napari_neurobridge.simulation.neurons.sources import neuron_factory
from napari_neurobridge.simulation.scene import Scene
from napari_neurobridge.training.image_tasks import (
    TaskParams,
    blemished,
    cross_modal_task,
    draw_task,
    project,
)
from napari_neurobridge.training.scene_volumes import SceneVolumes, cached_scene, in_optical_frame

PARAMS = TaskParams(size_um=48, shift_um=4.0, angle_deg=20.0, same_side=0.0)


def blob_scene() -> SceneVolumes:
    """Return two volumes of blobs, the second shifted by 3 µm in depth, 5 and -4 in the plane."""
    rng = np.random.default_rng(0)
    shift = np.array([3.0, 5.0, -4.0])
    here = rng.uniform([4, 8, 8], [36, 88, 88], (60, 3))
    volumes = []
    for places in (here, here + shift):
        grid = np.stack(np.indices((24, 100, 100)), axis=-1) * np.array([2.0, 1.0, 1.0])
        volume = sum(np.exp(-0.5 * ((grid - place) ** 2).sum(axis=-1) / 2.5**2) for place in places)
        volumes.append(np.asarray(volume, dtype=np.float16))
    nodes = np.stack(
        np.meshgrid(*(np.arange(0, n, 8.0) for n in (48, 104, 104)), indexing="ij"), -1
    )
    every = np.ones(len(here), dtype=np.bool_)
    return SceneVolumes(
        volumes[0],
        volumes[1],
        (nodes + shift).astype(np.float32),
        np.full(3, 8.0),
        here,
        here + shift,
        every,
        every,
    )


SCENE = blob_scene()


@pytest.mark.parametrize("seed", range(4))
def test_the_truth_leads_from_bright_places_to_bright_places(seed) -> None:
    task = cross_modal_task(SCENE, 20.0, PARAMS, np.random.default_rng(seed))
    mapped = task.map_points(task.somata_px[0])
    both = np.isfinite(mapped).all(axis=1)
    assert both.sum() >= 4
    # Somata of the source are those of the target, where its slab holds them.
    near = np.linalg.norm(mapped[both][:, None] - task.somata_px[1][None], axis=2).min(axis=1)
    assert np.median(near) < 0.3


def test_one_volume_shown_twice_is_bent_as_the_truth_says() -> None:
    params = PARAMS.model_copy(update={"same_side": 1.0, "bend_um": (3.0, 3.0)})
    task = draw_task(SCENE, params, np.random.default_rng(3))
    rows, columns = np.nonzero(np.isfinite(task.truth_px[..., 0]))
    seen = task.source[rows, columns]
    at = np.rint(task.truth_px[rows, columns]).astype(int)
    same = np.corrcoef(seen, task.target[at[:, 0], at[:, 1]])[0, 1]
    stayed = np.corrcoef(seen, task.target[rows, columns])[0, 1]
    assert same > 0.9 > stayed


def test_what_the_slab_does_not_hold_has_no_partner() -> None:
    thin = PARAMS.model_copy(update={"fmost_um": (4.0, 4.0), "depth_error_um": 0.0})
    task = cross_modal_task(SCENE, 20.0, thin, np.random.default_rng(0))
    far = thin.model_copy(update={"depth_error_um": 30.0})
    off = [
        np.isfinite(cross_modal_task(SCENE, 20.0, far, np.random.default_rng(n)).truth_px).mean()
        for n in range(6)
    ]
    assert np.isfinite(task.truth_px).mean() > 0.5
    assert min(off) == 0


def test_a_slab_is_projected_about_its_depth() -> None:
    volume = np.zeros((10, 4, 4), dtype=np.float16)
    volume[3] = 1
    assert project(volume, 6.0, 4.0, np.random.default_rng(0)).max() > 0
    assert project(volume, 14.0, 4.0, np.random.default_rng(0)).max() == 0


def test_blemishes_keep_what_is_bright_bright() -> None:
    task = cross_modal_task(SCENE, 20.0, PARAMS, np.random.default_rng(0))
    for seed in range(5):
        changed = blemished(task.source, np.random.default_rng(seed))
        assert changed.shape == task.source.shape
        assert np.isfinite(changed).all()
        assert np.corrcoef(changed.ravel(), task.source.ravel())[0, 1] > 0.4


@pytest.mark.slow
def test_a_scene_has_both_volumes_in_one_frame_and_is_kept(tmp_path) -> None:
    size = (30.0, 60.0, 60.0)
    made = cached_scene(7, "easy", size, tmp_path)
    kept = cached_scene(7, "easy", size, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    np.testing.assert_array_equal(made.fmost, kept.fmost)
    difficulty = level("easy")
    scene = Scene(difficulty, size, 7, neuron_factory(difficulty.morphology, ()))
    there = in_optical_frame(
        scene.transform.map_points(made.two_photon_um), scene.orientation, scene.fmost.extent_um
    )
    inside = scene.two_photon.holds(made.two_photon_um)
    assert np.abs(made.to_fmost(made.two_photon_um) - there)[inside].max() < 0.5
    # The brightest places of the volume are somata.
    shown = made.fmost_um[made.in_fmost] / np.array([2.0, 1.0, 1.0])
    index = np.rint(shown).astype(int)
    held = (index < np.array(made.fmost.shape)).all(axis=1) & (index >= 0).all(axis=1)
    values = made.fmost[tuple(index[held].T)]
    assert np.median(values) > 3 * np.median(made.fmost)
