"""From painted labels to a segmenter, and what it finds beside the difference of Gaussians."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from napari_neurobridge.detection.segment import SegmentParams
from napari_neurobridge.detection.unet import SegmenterConfig, SegmenterNet, load_segmenter
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.ome_zarr import write_ome_zarr
from napari_neurobridge.models import current
from napari_neurobridge.models.model_folder import SEGMENTER, ModelFolder
from napari_neurobridge.models.weights import save_network
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.painted import PaintedRegion, save_region
from napari_neurobridge.training.loop import LoopConfig
from napari_neurobridge.training.painted_labels import PaintedParams
from napari_neurobridge.training.segmenter_draws import DrawParams
from napari_neurobridge.types import Role
from napari_neurobridge.workflows.detect import detect_dataset, last_model
from napari_neurobridge.workflows.learn_segmenter import learn_segmenter, learned_segmenters
from napari_neurobridge.workflows.painted_cells import (
    compare_detection,
    count_painted,
    painted_cells_um,
)
from napari_neurobridge.workflows.setup import DatasetSource, create_project

TINY = SegmenterConfig(name="tiny", width=4, halvings=2, planes=3)
CELLS = [(4, 30, 30), (4, 90, 90), (4, 30, 90), (4, 90, 30)]


def quick(steps: int = 2, **loop: int) -> PaintedParams:
    settings = LoopConfig(
        steps=steps, learning_rate=5e-3, warmup_steps=1, **{"report_every": 1, **loop}
    )
    return PaintedParams(draws=DrawParams(size_px=32), batch=2, loop=settings)


@pytest.fixture
def painted_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A stack of four balls, one of which is painted, with background about it."""
    torch.manual_seed(0)
    save_network(SegmenterNet(TINY), TINY, tmp_path / "tiny")
    monkeypatch.setitem(current._BUNDLED, SEGMENTER, tmp_path / "tiny")
    grid = np.stack(np.indices((9, 120, 120)), axis=-1) * (2.0, 1.0, 1.0)
    away = [np.linalg.norm(grid - np.multiply(cell, (2, 1, 1)), axis=-1) for cell in CELLS]
    image = 40 + 100.0 * (np.min(away, axis=0) < 8)
    image += np.random.default_rng(0).normal(0, 4, image.shape)
    path = write_ome_zarr(tmp_path / "a.zarr", image.astype(np.uint16), voxel_size_um=(2, 1, 1))
    sources = [
        DatasetSource("two_photon", Role.IN_VIVO, image=path),
        DatasetSource("fmost", Role.EX_VIVO, image=path),
    ]
    project = create_project(tmp_path / "p.neurobridge", sources)
    save_region(project, "two_photon", region(away[0] < 8))
    return project


def region(cell: np.ndarray) -> PaintedRegion:
    """Paint a cell as 2, and what surrounds it as 1, in a part of the image."""
    labels = np.where(cell, 2, 1).astype(np.uint16)
    return PaintedRegion((3, 10, 12), labels[3:6, 10:50, 12:50])


def test_a_painted_part_teaches_what_the_same_labels_of_the_whole_image_teach(
    painted_project: Project, tmp_path: Path
) -> None:
    first = learn_segmenter(painted_project, "two_photon", quick())
    whole = np.zeros((9, 120, 120), dtype=np.uint16)
    grid = np.stack(np.indices(whole.shape), axis=-1) * (2.0, 1.0, 1.0)
    painted = region(np.linalg.norm(grid - (8, 30, 30), axis=-1) < 8)
    whole[3:6, 10:50, 12:50] = painted.labels
    file = tmp_path / "labels.tif"
    tifffile.imwrite(file, whole, imagej=True, metadata={"axes": "ZYX"})
    second = learn_segmenter(painted_project, "two_photon", quick(), labels=file)
    assert first.painted == second.painted
    assert first.painted.n_cells == 1
    one, other = (load_segmenter(result.model).state_dict() for result in (first, second))
    assert all(torch.equal(one[name], other[name]) for name in one)
    base = SegmenterNet(TINY).state_dict()
    assert any(not torch.equal(one[name], base[name]) for name in one)


def test_the_new_model_says_what_it_is_and_older_ones_stay(painted_project: Project) -> None:
    names = [
        learn_segmenter(painted_project, "two_photon", quick(steps)).model.name for steps in (1, 2)
    ]
    assert names == ["two_photon-painted-1", "two_photon-painted-2"]
    assert learned_segmenters(painted_project, "two_photon") == names[::-1]
    assert learned_segmenters(painted_project, "fmost") == []
    stored = ModelFolder.open(painted_project.models_dir / names[1])
    assert stored.kind == SEGMENTER
    assert "1 cells" in stored.card
    assert list(painted_project.runs_dir.glob("segmenter-*")) == []


def test_a_stopped_training_goes_on_and_ends_with_the_same_weights(
    painted_project: Project,
) -> None:
    params = quick(6, checkpoint_every=2, report_every=3)

    def stop(done: int, total: int, text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn_segmenter(painted_project, "two_photon", params, report=stop)
    assert learned_segmenters(painted_project, "two_photon") == []
    assert len(list(painted_project.runs_dir.glob("segmenter-two_photon-*"))) == 1
    told: list[int] = []
    resumed = learn_segmenter(
        painted_project, "two_photon", params, report=lambda done, *_: told.append(done)
    )
    whole = learn_segmenter(painted_project, "two_photon", params)
    assert ModelFolder.open(resumed.model).hash == ModelFolder.open(whole.model).hash


def test_what_is_painted_meanwhile_begins_a_new_training(painted_project: Project) -> None:
    def stop(done: int, total: int, text: str) -> None:
        raise KeyboardInterrupt

    params = quick(3, checkpoint_every=1)
    with pytest.raises(KeyboardInterrupt):
        learn_segmenter(painted_project, "two_photon", params, report=stop)
    more = np.zeros((1, 5, 5), dtype=np.uint16)
    more[0, 2, 2] = 5
    save_region(painted_project, "two_photon", PaintedRegion((4, 88, 88), more))
    told: list[int] = []
    result = learn_segmenter(
        painted_project, "two_photon", params, report=lambda done, *_: told.append(done)
    )
    assert told == [1, 2, 3]
    assert result.painted.n_cells == 2
    assert list(painted_project.runs_dir.glob("segmenter-*")) == []


def test_a_learned_segmenter_detects_and_the_log_says_so(painted_project: Project) -> None:
    name = learn_segmenter(painted_project, "two_photon", quick()).model.name
    detect_dataset(painted_project, "two_photon", SegmentParams(), model=name, annotator="a")
    assert last_model(painted_project, "two_photon") == name
    assert last_model(painted_project, "fmost") is None
    detect_dataset(painted_project, "two_photon", annotator="a")
    assert last_model(painted_project, "two_photon") is None


def test_the_comparison_counts_both_and_records_nothing(painted_project: Project) -> None:
    found = compare_detection(painted_project, "two_photon", soma_diameter_um=16.0)
    assert painted_project.state().somata["two_photon"] == {}
    assert found.dog.n_found == len(CELLS)
    assert found.n_painted == found.dog.n_painted_found == 1
    assert found.dog.n_in_background == 0
    assert found.n_both <= min(found.dog.n_found, found.segmenter.n_found)
    assert found.segmenter.method.startswith("tiny@")


def test_spots_of_one_label_that_touch_are_a_cell_and_so_are_near_ones() -> None:
    labels = np.zeros((3, 40, 40), dtype=np.uint16)
    labels[0, 2:5, 2:5] = 2
    labels[2, 2:5, 2:5] = 2  # 4 µm above: the same cell in another plane
    labels[1, 20:24, 20:24] = 2
    labels[1, 20:24, 30:34] = 3
    labels[1, :, 38] = 1
    regions = [PaintedRegion((10, 0, 0), labels)]
    painted = count_painted(regions, (2.0, 1.0, 1.0))
    assert (painted.n_cells, painted.n_cell_voxels) == (3, 50)
    assert (painted.n_background_voxels, painted.n_regions) == (40, 1)
    assert painted.enough
    middles = painted_cells_um(regions, (2.0, 1.0, 1.0))
    assert [22.0, 21.5, 21.5] in middles.tolist()


@pytest.mark.parametrize("dataset", ["fmost", "nothing"])
def test_where_nothing_is_painted_there_is_nothing_to_learn(
    painted_project: Project, dataset: str
) -> None:
    with pytest.raises(InputError, match=r"No background is painted|no dataset 'nothing'"):
        learn_segmenter(painted_project, dataset, quick())


@pytest.mark.parametrize("depth", [8, 10])
def test_labels_of_another_image_are_refused(
    painted_project: Project, tmp_path: Path, depth: int
) -> None:
    file = tmp_path / "labels.tif"
    tifffile.imwrite(file, np.ones((depth, 120, 120), dtype=np.uint8))
    with pytest.raises(InputError, match=r"Labels of two_photon must be .* shape \(9, 120, 120\)"):
        learn_segmenter(painted_project, "two_photon", quick(), labels=file)


def test_a_region_beyond_the_image_is_refused(painted_project: Project) -> None:
    beyond = PaintedRegion((8, 0, 0), np.ones((2, 5, 5), dtype=np.uint16))
    save_region(painted_project, "two_photon", beyond)
    with pytest.raises(InputError, match="reaches beyond two_photon"):
        learn_segmenter(painted_project, "two_photon", quick())
