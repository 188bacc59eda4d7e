from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
from napari_neurobridge.encoder.embed import Encoder, save_model
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.encoder.strategies import Strategy
from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.models.current import current_model
from napari_neurobridge.models.model_folder import Likelihood, ModelCalibration, ModelFolder
from napari_neurobridge.project.folder import Project
from napari_neurobridge.training.comparison import Comparison
from napari_neurobridge.training.fine_tune import FineTuneConfig
from napari_neurobridge.workflows import train as training
from napari_neurobridge.workflows.train import train_file
from napari_neurobridge.workflows.training_set import split_file

PIXELS = 32
CONFIG = FineTuneConfig(
    strategy=Strategy.FULL, steps=4, validate_every=2, neurons=8, learning_rate=1e-3
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    folder = tmp_path / "tiny"
    folder.mkdir()
    local = LocalConfig(window=16, widths=(8,), strides=(2,), blocks=(0,))
    config = EncoderConfig(
        name="tiny", crop_pixels=PIXELS, dim=16, views=1, channels="local", local_channel=local
    )
    save_model(DualChannelEncoder(config), folder)
    return folder


@pytest.fixture
def pairs(tmp_path):
    def write(n=30, scenes=3):
        rng = np.random.default_rng(0)
        coarse = rng.random((n, 4, 4)).repeat(8, axis=1).repeat(8, axis=2)
        sides = np.clip(coarse + 0.1 * rng.random((2, n, PIXELS, PIXELS)), 0, 1)
        path = tmp_path / "pairs.npz"
        sides = sides.astype(np.float32)
        PairSet(sides[0], sides[1], np.arange(n) % scenes).save(path)
        return path

    return write


def call_it(better):
    """Make every comparison say so."""
    return lambda *_: Comparison(n=5, gain=0.1, interval=(0.0, 0.2), better=better)


def test_a_file_becomes_a_model_folder_that_loads(pairs, model, tmp_path):
    out, told = tmp_path / "new", []
    result = train_file(
        pairs(), out, CONFIG, model=str(model), report=lambda *step: told.append(step)
    )
    assert {path.name for path in out.iterdir()} == {
        "config.toml",
        "weights.safetensors",
        "calibration.toml",
        "card.md",
        "fingerprint.npz",
        "SHA256SUMS",
        "training.json",
    }
    ModelFolder.open(out).verify()
    assert Encoder.load(out).name == "new"
    assert (result.n_train, result.n_validation, result.n_test) == (10, 10, 10)
    assert result.whole_scenes
    assert result.before.n == result.after.n == result.comparison.n == 10
    assert result.adopted == result.comparison.better
    assert told[-1][:2] == (4, 4)
    card = (out / "card.md").read_text(encoding="utf-8")
    assert f"Fine-tuned from tiny@{Encoder.load(model).hash}" in card
    assert '"strategy": "full"' in card
    # Nothing is left of the run but the folder.
    assert {path.name for path in tmp_path.iterdir()} == {"new", "tiny", "pairs.npz"}


def test_epochs_count_passes_over_the_training_pairs(pairs, model, tmp_path):
    told = []
    train_file(
        pairs(),
        tmp_path / "new",
        CONFIG,
        model=str(model),
        epochs=3,
        report=lambda *step: told.append(step),
    )
    assert told[-1][:2] == (6, 6)  # ten pairs are two batches of eight


def test_a_cancelled_run_goes_on_where_it_was(pairs, model, tmp_path):
    path, first, second = pairs(), tmp_path / "first", tmp_path / "second"

    def stop(done, total, message):
        if done == 3:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        train_file(path, first, CONFIG, model=str(model), report=stop)
    assert not first.exists()
    assert len(list(tmp_path.glob(".first-*.safetensors"))) == 1
    assert len(list(tmp_path.glob(".first-*.jsonl"))) == 1
    told = []
    train_file(path, first, CONFIG, model=str(model), report=lambda *step: told.append(step[0]))
    assert 1 not in told
    assert not list(tmp_path.glob(".first-*"))
    train_file(path, second, CONFIG, model=str(model))
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (first, second)]
    assert weights[0] == weights[1]


def test_no_folder_is_ever_overwritten(pairs, model, tmp_path):
    path, out = pairs(), tmp_path / "new"
    train_file(path, out, CONFIG, model=str(model))
    before = (out / "weights.safetensors").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        train_file(path, out, CONFIG.model_copy(update={"seed": 1}), model=str(model))
    assert (out / "weights.safetensors").read_bytes() == before


def test_too_few_pairs_are_refused(pairs, model, tmp_path):
    with pytest.raises(InputError, match="at least 6 pairs and there are 5"):
        train_file(pairs(5), tmp_path / "new", CONFIG, model=str(model))
    assert not (tmp_path / "new").exists()


def test_pairs_of_one_scene_are_split_one_by_one_and_the_card_says_so(pairs, model, tmp_path):
    result = train_file(pairs(scenes=1), tmp_path / "new", CONFIG, model=str(model))
    assert not result.whole_scenes
    assert "may show the same tissue" in (tmp_path / "new" / "card.md").read_text(encoding="utf-8")


@pytest.fixture
def train(real_model_project, model, monkeypatch, pairs):
    """Train in a project, on other crops than its own."""
    crops = split_file(PairSet.load(pairs()), seed=0)
    monkeypatch.setattr(training, "plan_training", lambda *_, **__: None)
    monkeypatch.setattr(training, "crop_training_set", lambda *_, **__: crops)

    def run(better=True, start=str(model), **changes):
        monkeypatch.setattr(
            "napari_neurobridge.training.comparison.compare_models", call_it(better)
        )
        config = CONFIG.model_copy(update=changes)
        return training.train_project(real_model_project, config, model=start)

    return run


def test_a_project_adopts_what_is_better_and_starts_from_it_the_next_time(
    train, real_model_project
):
    first = train()
    assert first.adopted
    assert first.model == real_model_project.models_dir / "v1-full"
    assert Encoder.load(first.model).name == "v1-full"
    current = current_model(real_model_project)
    assert (current.path, current.hash) == (first.model, Encoder.load(first.model).hash)
    assert not list(real_model_project.runs_dir.glob("train-*"))
    second = train(better=False, start=None, seed=1)
    assert second.model.name == "v2-full"
    assert f"Fine-tuned from {current.label}" in (second.model / "card.md").read_text("utf-8")
    # After a restart as before.
    again = Project.open(real_model_project.path)
    assert current_model(again).name == "v1-full"
    again.close()


def test_the_same_training_twice_is_adopted_once(train, real_model_project):
    train()
    assert train().adopted
    assert len(real_model_project.state().adoptions) == 1
    assert current_model(real_model_project).name == "v1-full"


def test_what_is_not_better_is_kept_and_not_adopted(train, real_model_project):
    before = current_model(real_model_project)
    result = train(better=False)
    assert not result.adopted
    assert result.model.is_dir()
    assert current_model(real_model_project) == before
    again = train(better=False)
    assert again.model.name == "v2-full"  # the same training, and yet a folder of its own


def test_a_model_names_the_pairs_it_learned_and_takes_the_likelihood_over(
    train, model, pairs, monkeypatch
):
    known = ModelCalibration(
        likelihood=Likelihood(weight=12.0, offset=0.5), trained_on=(("tp-9", "fm-9"),)
    )
    ModelFolder.open(model).write_calibration(known)
    crops = split_file(PairSet.load(pairs()), seed=0)
    uids = tuple((f"tp-{row:02d}", f"fm-{row:02d}") for row in range(len(crops.train)))
    named = replace(crops, uids=uids)
    monkeypatch.setattr(training, "crop_training_set", lambda *_, **__: named)
    result = train()
    found = ModelFolder.open(result.model).calibration
    assert found.likelihood == known.likelihood
    assert f"taken over from tiny@{ModelFolder.open(model).hash}" in found.note
    assert ("tp-9", "fm-9") in found.trained_on
    assert set(found.trained_on) == {*uids, ("tp-9", "fm-9")}
