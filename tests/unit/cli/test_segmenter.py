"""``train-segmenter``, ``compare-detection`` and ``detect --model``, as somebody types them."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_neurobridge.cli import main
from napari_neurobridge.detection.unet import SegmenterConfig, SegmenterNet
from napari_neurobridge.models.weights import save_network
from napari_neurobridge.models.zoo import CACHE_VARIABLE, DEFAULT_SEGMENTER
from napari_neurobridge.project.folder import Project


def typed(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def answer(*arguments: object) -> dict[str, Any]:
    code, out, err = typed(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.fixture
def labels(project_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two painted cells of the two-photon image, and a small network in the bundled one's place."""
    config = SegmenterConfig(width=2, halvings=1, planes=3)
    save_network(SegmenterNet(config), config, tmp_path / "models" / DEFAULT_SEGMENTER)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "models"))
    project = Project.open(project_folder)
    volume = project.volume("two_photon")
    painted = np.zeros(volume.shape, dtype=np.uint8)
    painted[0] = 1
    for number, soma in enumerate(list(project.state().somata["two_photon"].values())[:2]):
        z, y, x = np.rint(np.divide(soma.center_um, volume.voxel_size_um)).astype(int)
        painted[z, y - 2 : y + 3, x - 2 : x + 3] = 2 + number
    project.close()
    file = tmp_path / "painted.tif"
    tifffile.imwrite(file, painted, imagej=True, metadata={"axes": "ZYX"})
    return file


def test_a_label_image_teaches_a_network_that_detects(project_folder: Path, labels: Path) -> None:
    learned = answer(
        *("train-segmenter", project_folder, "--dataset", "two_photon"),
        *("--labels", labels, "--steps", 1),
    )
    assert learned["n_cells"] == 2
    assert learned["steps"] == 1
    name = Path(learned["model"]).name
    compared = answer(
        *("compare-detection", project_folder, "--dataset", "two_photon", "--model", name)
    )
    assert compared["segmenter"].startswith(name)
    assert compared["n_both"] <= min(compared["n_dog"], compared["n_segmenter"])
    detected = answer(
        *("detect", project_folder, "--dataset", "two_photon", "--method", "segmenter"),
        *("--model", name),
    )
    # Those that were in the project before came from a table, and stay.
    assert detected["n_somata"] >= compared["n_segmenter"]
    code, out, _ = typed("compare-detection", project_folder, "--dataset", "two_photon")
    assert code == 0
    assert "somata are found by both" in out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train-segmenter", "--dataset", "two_photon"], "No background is painted"),
        (["train-segmenter", "--dataset", "brain"], "no dataset 'brain'"),
        (["train-segmenter", "--dataset", "fmost", "--from", "moon"], "no model 'moon'"),
        (["compare-detection", "--dataset", "fmost", "--model", "moon"], "no model 'moon'"),
        (["compare-detection", "--dataset", "fmost", "--model", "compact"], "not 'segmenter'"),
        (["detect", "--model", "somata-2d"], "Only the segmenter is a model"),
        (["detect", "--method", "segmenter", "--model", "moon"], "no model 'moon'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    project_folder: Path, command: list[str], message: str
) -> None:
    code, out, err = typed(command[0], project_folder, *command[1:])
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err
