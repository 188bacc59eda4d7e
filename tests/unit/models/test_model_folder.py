"""What a model folder holds, and what is said of one that is not whole."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.model_folder import (
    ENCODER,
    Likelihood,
    ModelCalibration,
    ModelFolder,
    Probability,
)
from napari_neurobridge.models.zoo import find_model

CONFIG = {"name": "mine", "dim": 8}
KNOWN = ModelCalibration(
    likelihood=Likelihood(weight=20.4, offset=-0.15, source="scenes"),
    probability=Probability(slope=1.1, offset=0.5),
    trained_on=(("tp-1", "fm-2"),),
    note="Not measured anew.",
)


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    made = ModelFolder.create(tmp_path / "mine", CONFIG, b"weights")
    made.write_fingerprint({"two_photon": np.arange(6.0)})
    made.write_card("# mine\n")
    return made.write_calibration(KNOWN)


def test_what_is_written_is_read(folder: ModelFolder) -> None:
    found = ModelFolder.open(folder.path)
    assert (found.name, found.kind, found.dim) == ("mine", ENCODER, 8)
    assert found.hash == hashlib.sha256(b"weights").hexdigest()[:12]
    assert found.weights().read_bytes() == b"weights"
    assert found.calibration == KNOWN
    assert found.card == "# mine\n"
    np.testing.assert_array_equal(found.fingerprint()["two_photon"], np.arange(6.0))
    found.verify()


def test_the_checksums_are_those_of_sha256sum(folder: ModelFolder) -> None:
    lines = (folder.path / "SHA256SUMS").read_text().splitlines()
    named = dict(reversed(line.split("  ")) for line in lines)
    assert named == {
        name: hashlib.sha256((folder.path / name).read_bytes()).hexdigest()
        for name in ("config.toml", "weights.safetensors", "calibration.toml", "fingerprint.npz")
    }


@pytest.mark.parametrize(
    "name", ["config.toml", "weights.safetensors", "calibration.toml", "fingerprint.npz"]
)
@pytest.mark.parametrize("harm", ["flipped", "gone"])
def test_a_file_that_is_another_than_was_written_is_named(
    folder: ModelFolder, name: str, harm: str
) -> None:
    file = folder.path / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    if harm == "gone":
        file.unlink()
    with pytest.raises(InputError, match=name.replace(".", r"\.")) as refusal:
        ModelFolder.open(folder.path).verify()
    assert ". " not in str(refusal.value)  # one sentence


def test_people_may_write_on_the_card(folder: ModelFolder) -> None:
    (folder.path / "card.md").write_text("# mine\n\nWorks on mouse 17.\n")
    ModelFolder.open(folder.path).verify()


def test_a_folder_from_before_there_were_checksums_is_read(folder: ModelFolder) -> None:
    (folder.path / "SHA256SUMS").unlink()
    (folder.path / "calibration.toml").unlink()
    found = ModelFolder.open(folder.path)
    assert found.checksums is None
    assert found.calibration == ModelCalibration()
    found.verify()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("schema_version = 2", "of the newer version 2; this program reads version 1"),
        ('schema_version = "one"', "states no version that is known: 'one'"),
        ("schema_version = 0", "states no version that is known: 0"),
        ("schema_version = true", "states no version that is known: True"),
        ("schema_version = [", "is damaged"),
        ("\xff", "is damaged"),
    ],
)
@pytest.mark.parametrize("name", ["config.toml", "calibration.toml"])
def test_other_versions_are_refused(
    folder: ModelFolder, name: str, content: str, words: str
) -> None:
    (folder.path / "SHA256SUMS").unlink()
    (folder.path / name).write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=words):
        _ = ModelFolder.open(folder.path).calibration


@pytest.mark.parametrize(
    "content",
    ["weight = -1.0\noffset = 0.0", "weight = nan\noffset = 0.0", "weight = 1e9\noffset = 0.0"],
)
def test_numbers_out_of_range_are_refused(folder: ModelFolder, content: str) -> None:
    (folder.path / "SHA256SUMS").unlink()
    (folder.path / "calibration.toml").write_text(f"[likelihood]\n{content}\n")
    with pytest.raises(InputError, match=r"damaged: likelihood\.weight"):
        _ = ModelFolder.open(folder.path).calibration


@pytest.mark.parametrize("content", ["", "nonsense\n", "abc  config.toml\n"])
def test_damaged_checksums_are_refused(folder: ModelFolder, content: str) -> None:
    (folder.path / "SHA256SUMS").write_text(content)
    with pytest.raises(InputError, match=r"checksums .* are damaged"):
        ModelFolder.open(folder.path)


def test_a_model_is_never_overwritten(folder: ModelFolder) -> None:
    with pytest.raises(InputError, match="never overwritten"):
        ModelFolder.create(folder.path, CONFIG, b"others")
    assert folder.weights().read_bytes() == b"weights"


def test_other_formats_of_weights_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("schema_version = 1\n")
    (tmp_path / "weights.pt").write_bytes(b"pickle")
    with pytest.raises(InputError, match=r"lacks weights\.safetensors"):
        ModelFolder.open(tmp_path).weights()


def test_the_bundled_models_are_whole_and_the_encoder_states_what_it_means() -> None:
    for name in ("compact", "constellation"):
        ModelFolder.open(find_model(name)).verify()
    assert ModelFolder.open(find_model("constellation")).calibration == ModelCalibration()
    known = ModelFolder.open(find_model("compact")).calibration
    assert (known.likelihood.weight, known.likelihood.offset) == (20.4, -0.15)
    assert (known.probability.slope, known.probability.offset) == (1.1, 0.5)


def test_a_copy_of_a_bundled_folder_is_whole(tmp_path: Path) -> None:
    shutil.copytree(find_model("compact"), tmp_path / "copy")
    ModelFolder.open(tmp_path / "copy").verify()
