"""``adapt CONFIG.toml``: source, curve and model; kills; and what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
import tifffile
from typer.testing import CliRunner

from napari_neurobridge.cli._app import app
from napari_neurobridge.detection.unet import load_segmenter
from napari_neurobridge.errors import InputError
from napari_neurobridge.workflows.adapt import adapt_from_file

TEXT = """
task = "segmentation"
out = "{out}"
sources = {sources}
tile_px = 48

[data]
images = "images.tif"
labels = "labels.tif"
positive = [0]
unlabelled = [9]
test = {test}

[adapt]
labels = {labels}
steps = {steps}
rounds = 2

[training]
batch = 2
passes = 2
checkpoint_every = 2
draws.size_px = 32
"""


@pytest.fixture
def configured(patchwork_files, patchwork_sources):
    """Write data and a configuration; return where it lies."""

    def write(name="config", **changes):
        folder = patchwork_files()
        values = {
            "out": "adapted",
            "sources": [str(path) for path in patchwork_sources.values()],
            "test": [4, 5],
            "labels": 2,
            "steps": 8,
        }
        path = folder / f"{name}.toml"
        path.write_text(TEXT.format(**values | changes), encoding="utf-8")
        return path

    return write


def test_the_command_answers_with_source_distances_and_curve(configured, patchwork_sources):
    path = configured()
    result = CliRunner().invoke(app, ["adapt", str(path), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    dark, bright = (str(patchwork_sources[name]) for name in ("dark", "bright"))
    assert found["source"] == dark
    assert list(found["mmd2"]) == [dark, bright]
    assert [(p["labels"], p["steps"], len(p["items"])) for p in found["curve"]] == [
        (0, 0, 0),
        (1, 4, 1),
        (2, 8, 1),
    ]
    assert all(p["vi"] == pytest.approx(p["split"] + p["merge"]) for p in found["curve"])
    net = load_segmenter(path.parent / "adapted" / "model")
    assert net.config.name == "adapted"
    assert net.config.watershed == load_segmenter(patchwork_sources["dark"]).config.watershed
    again = CliRunner().invoke(app, ["adapt", str(path)])
    assert again.exit_code == 0
    assert "from" in again.stdout


def test_a_model_that_was_adapted_is_a_source_in_turn(configured):
    adapt_from_file(configured())
    found = adapt_from_file(configured("next", out="again", sources=["adapted/model"]))
    assert found.source == "adapted/model"
    assert found.mmd2["adapted/model"] < 0.05


def test_a_killed_run_ends_with_the_same_bits(configured):
    whole = adapt_from_file(configured())
    path = configured("killed", out="killed")
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from napari_neurobridge.workflows.adapt import adapt_from_file\n"
        "def report(done, total, text):\n"
        "    if done == 6:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "adapt_from_file(Path(sys.argv[1]), report=report)\n"
    )
    died = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert died.returncode == -signal.SIGKILL
    run = path.parent / "killed" / "run"
    assert sorted(file.name for file in run.iterdir()) == [
        "state.safetensors",
        "training-002.safetensors",
    ]
    resumed = adapt_from_file(path)
    assert resumed.curve == whole.curve
    weights = [(found.model / "weights.safetensors").read_bytes() for found in (whole, resumed)]
    assert weights[0] == weights[1]


def test_tiles_without_labels_are_named_and_a_later_call_goes_on(configured):
    path = configured()
    full = tifffile.imread(path.parent / "labels.tif")
    partly = full.copy()
    partly[:4] = 9
    partly[0, :4, :4] = full[0, :4, :4]
    tifffile.imwrite(path.parent / "labels.tif", partly, metadata={"axes": "ZYX"})
    with pytest.raises(InputError, match="Label these tiles, and run again: section"):
        adapt_from_file(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test": [0, 1, 2, 3, 4, 5]}, "The pool holds no item to annotate."),
        ({"labels": 17}, "17 labels are more than the pool has items: it holds 16."),
        ({"sources": ["nowhere/at-all"]}, "There is no model folder"),
        ({"sources": []}, "sources: Tuple should have at least 1 item"),
        ({"sources": ["somata-2d"]}, "sees 7 planes at once"),
        ({"sources": ["compact"]}, "is a model of the kind 'encoder'"),
        ({"labels": 0}, "adapt.labels: Input should be greater than or equal to 1"),
    ],
)
def test_bad_configurations_are_one_sentence(configured, changes, words):
    with pytest.raises(InputError) as error:
        adapt_from_file(configured(**changes))
    assert words in str(error.value)
    assert str(error.value).count(". ") == 0


def test_one_item_cannot_be_compared(configured):
    path = configured(labels=1, steps=2)
    path.write_text(path.read_text().replace("tile_px = 48", "tile_px = 96\n"))
    text = path.read_text().replace("test = [4, 5]", "test = [5]\nleft_out = [1, 2, 3, 4]")
    path.write_text(text)
    with pytest.raises(InputError, match="The pool holds one item; comparing it"):
        adapt_from_file(path)


def test_labels_of_one_class_are_named(configured):
    path = configured()
    labels = tifffile.imread(path.parent / "labels.tif")
    tifffile.imwrite(path.parent / "labels.tif", labels | 255, metadata={"axes": "ZYX"})
    with pytest.raises(InputError, match="The labels are of one class"):
        adapt_from_file(path)


def test_a_file_that_is_no_toml_or_is_not_there_is_refused(tmp_path):
    (tmp_path / "bad.toml").write_text("task = ")
    for name in ("bad.toml", "missing.toml"):
        with pytest.raises(InputError, match="cannot be read"):
            adapt_from_file(tmp_path / name)
