import numpy as np
import pytest
import torch

from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
from napari_neurobridge.encoder.embed import Encoder, save_model
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.encoder.strategies import Strategy
from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.training.comparison import Comparison
from napari_neurobridge.training.fine_tune import FineTuneConfig
from napari_neurobridge.workflows import train as training
from napari_neurobridge.workflows.train import train_file

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
        "card.md",
        "fingerprint.npz",
    }
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
    told = []
    train_file(path, first, CONFIG, model=str(model), report=lambda *step: told.append(step[0]))
    assert 1 not in told
    assert not list(tmp_path.glob(".first-*"))
    train_file(path, second, CONFIG, model=str(model))
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (first, second)]
    assert weights[0] == weights[1]


def test_a_model_is_replaced_and_anything_else_is_not(pairs, model, tmp_path):
    path = pairs()
    train_file(path, tmp_path / "new", CONFIG, model=str(model))
    train_file(path, tmp_path / "new", CONFIG, model=str(model))
    other = tmp_path / "photos"
    other.mkdir()
    (other / "cat.png").write_bytes(b"")
    with pytest.raises(InputError, match="exists and is no model folder"):
        train_file(path, other, CONFIG, model=str(model))
    assert (other / "cat.png").exists()


def test_too_few_pairs_are_refused(pairs, model, tmp_path):
    with pytest.raises(InputError, match="at least 6 pairs and there are 5"):
        train_file(pairs(5), tmp_path / "new", CONFIG, model=str(model))
    assert not (tmp_path / "new").exists()


def test_pairs_of_one_scene_are_split_one_by_one_and_the_card_says_so(pairs, model, tmp_path):
    result = train_file(pairs(scenes=1), tmp_path / "new", CONFIG, model=str(model))
    assert not result.whole_scenes
    assert "may show the same tissue" in (tmp_path / "new" / "card.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("better", [True, False])
def test_a_project_adopts_what_is_better_and_keeps_the_rest(
    better, project, model, monkeypatch, pairs
):
    crops = PairSet.load(pairs())
    monkeypatch.setattr(training, "accepted_pairs", lambda project, report=None: crops)
    monkeypatch.setattr("napari_neurobridge.training.comparison.compare_models", call_it(better))
    result = training.train_project(project, CONFIG, model=str(model))
    assert result.adopted == better
    assert result.model.parent == project.models_dir
    assert Encoder.load(result.model).name == result.model.name
    adopted = project.models_dir / training.ADAPTED_MODEL
    assert adopted.exists() == better
    if better:
        assert Encoder.load(adopted).hash == Encoder.load(result.model).hash
    assert not list(project.runs_dir.glob("train-*"))
