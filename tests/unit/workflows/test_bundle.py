"""Job bundles: out, trained elsewhere, and back; whatever is not what was written is refused."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
import pytest
import torch

from fixtures.models import MakeModel
from fixtures.projects import true_partner
from napari_neurobridge.encoder.strategies import Strategy
from napari_neurobridge.errors import InputError
from napari_neurobridge.models.current import current_model
from napari_neurobridge.models.model_folder import ModelFolder
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.training.comparison import Comparison
from napari_neurobridge.training.fine_tune import FineTuneConfig
from napari_neurobridge.workflows import bundle as bundles
from napari_neurobridge.workflows.bundle import train_bundle, write_bundle
from napari_neurobridge.workflows.import_model import import_model

CONFIG = FineTuneConfig(strategy=Strategy.FULL, steps=2, validate_every=1, neurons=4)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def bundled(real_model_project: Project, make_model: MakeModel, tmp_path: Path) -> Path:
    """A bundle of ten pairs and one rejected candidate."""
    uids = sorted(real_model_project.state().somata["two_photon"])
    for uid in uids[:10]:
        annotate.accept(real_model_project, uid, true_partner(uid), annotator="me")
    annotate.reject(real_model_project, uids[12], true_partner(uids[13]), annotator="me")
    path = tmp_path / "job.zip"
    model = make_model(tmp_path / "tiny")
    write_bundle(real_model_project, path, model=str(model))
    return path


def test_out_trained_elsewhere_and_back(
    bundled: Path, real_model_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result = train_bundle(bundled, elsewhere / "new", CONFIG)
    assert (result.n_train, result.n_validation, result.n_test) == (6, 2, 2)
    assert result.n_rejected == 1
    assert {path.name for path in elsewhere.iterdir()} == {"new"}
    folder = ModelFolder.open(elsewhere / "new")
    assert len(folder.calibration.trained_on) == result.n_train

    before = current_model(real_model_project)
    found = import_model(real_model_project, elsewhere / "new", annotator="me")
    assert found.comparison is not None
    assert found.comparison.n == 2
    assert found.adopted == found.comparison.better
    assert (current_model(real_model_project).hash == before.hash) == (not found.adopted)

    better = Comparison(n=2, gain=0.1, interval=(0.05, 0.2), better=True)
    monkeypatch.setattr("napari_neurobridge.training.comparison.compare_models", lambda *_: better)
    found = import_model(real_model_project, elsewhere / "new", annotator="me")
    assert found.adopted
    assert current_model(real_model_project).hash == folder.hash


def test_a_model_that_knows_the_test_pairs_is_not_adopted(
    bundled: Path, real_model_project: Project, tmp_path: Path
) -> None:
    train_bundle(bundled, tmp_path / "new", CONFIG)
    folder = ModelFolder.open(tmp_path / "new")
    pairs = tuple(sorted(real_model_project.state().pairs.items()))
    folder.write_calibration(folder.calibration.model_copy(update={"trained_on": pairs}))
    found = import_model(real_model_project, tmp_path / "new")
    assert not found.adopted
    assert "only 0 test pairs" in found.reason


def test_only_crops_leave(bundled: Path, tmp_path: Path) -> None:
    with ZipFile(bundled) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert set(contents) <= set(bundles._NAMES)
    for name, held in contents.items():
        for word in (str(tmp_path), Path.home().name + "/", "small.neurobridge", ".tif"):
            assert word.encode() not in held, (name, word)
    with np.load(io.BytesIO(contents["crops.npz"])) as arrays:
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.uint8)}
        assert {array.shape[1:] for array in arrays.values()} == {(150, 150)}
        n_crops = sum(len(array) for array in arrays.values())
    assert n_crops == 2 * 11


def test_a_bundle_is_never_written_over_a_file(bundled: Path, real_model_project: Project) -> None:
    with pytest.raises(InputError, match="exists already"):
        write_bundle(real_model_project, bundled)


def test_any_changed_byte_is_found_or_changes_nothing(bundled: Path, tmp_path: Path) -> None:
    whole, expected = bundled.read_bytes(), bundles._read(bundled)
    broken = tmp_path / "broken.zip"
    rng = np.random.default_rng(0)
    refused = 0
    for place in [
        *rng.integers(len(whole), size=60).tolist(),
        *range(len(whole) - 200, len(whole)),
    ]:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        broken.write_bytes(changed)
        try:
            assert bundles._read(broken) == expected
        except InputError as error:
            refused += 1
            assert str(error).count("\n") == 0
    assert refused > 40


def rewritten(path: Path, change: dict[str, bytes], compression: int = ZIP_STORED) -> None:
    """Write the bundle anew with other contents, and checksums that fit them."""
    with ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()} | change
    del contents["SHA256SUMS"]
    sums = "".join(f"{hashlib.sha256(c).hexdigest()}  {n}\n" for n, c in contents.items())
    with ZipFile(path, "w", compression) as archive:
        for name, content in {**contents, "SHA256SUMS": sums.encode()}.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/etc/evil", "model/../../evil", "..\\evil.txt", "C:\\evil", "C:evil"]
)
def test_a_path_that_leaves_the_folder_is_refused_and_nothing_is_written(
    bundled: Path, tmp_path: Path, name: str
) -> None:
    with ZipFile(bundled, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"evil")
    there = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="outside of its folder"):
        train_bundle(bundled, tmp_path / "new", CONFIG)
    assert sorted(tmp_path.rglob("*")) == there


def test_a_bomb_is_refused_before_it_is_read(bundled: Path, tmp_path: Path) -> None:
    rewritten(bundled, {"crops.npz": bytes(50_000_000)}, ZIP_DEFLATED)
    assert bundled.stat().st_size < 10_000_000
    with pytest.raises(InputError, match="is compressed, which no bundle is"):
        train_bundle(bundled, tmp_path / "new", CONFIG)


def test_a_bomb_within_the_crops_is_refused(bundled: Path, tmp_path: Path) -> None:
    handle = io.BytesIO()
    np.savez_compressed(handle, train_two_photon=np.zeros((10_000, 50, 50), np.uint8))
    rewritten(bundled, {"crops.npz": handle.getvalue()})
    with pytest.raises(InputError, match=r"The crops in the bundle .* are compressed"):
        train_bundle(bundled, tmp_path / "new", CONFIG)


def test_crops_that_are_declared_larger_than_any_memory_are_refused(
    bundled: Path, tmp_path: Path
) -> None:
    array, handle = io.BytesIO(), io.BytesIO()
    shape = (999_999_999_999_999, 50, 50)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(array, header)
    with ZipFile(handle, "w") as archive:
        archive.writestr("train_two_photon.npy", array.getvalue() + bytes(1000))
    rewritten(bundled, {"crops.npz": handle.getvalue()})
    with pytest.raises(InputError, match="cannot be read"):
        train_bundle(bundled, tmp_path / "new", CONFIG)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"evil.py": b"import os"}, "holds 'evil.py', which no bundle does"),
        ({"bundle.json": b"{}"}, "its facts do not fit"),
        ({"bundle.json": b"not json"}, "its facts do not fit"),
        ({"crops.npz": b"no archive"}, "cannot be read"),
    ],
)
def test_what_no_bundle_holds_is_refused_in_a_sentence(
    bundled: Path, tmp_path: Path, change: dict[str, bytes], words: str
) -> None:
    rewritten(bundled, change)
    with pytest.raises(InputError, match=words):
        train_bundle(bundled, tmp_path / "new", CONFIG)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 torn", bytes(1000)])
def test_what_is_no_bundle_is_refused_in_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "job.zip"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"There is no bundle|is no readable bundle"):
        train_bundle(path, tmp_path / "new", CONFIG)


def test_a_torn_bundle_is_refused(bundled: Path, tmp_path: Path) -> None:
    bundled.write_bytes(bundled.read_bytes()[:-1000])
    with pytest.raises(InputError, match="is no readable bundle"):
        train_bundle(bundled, tmp_path / "new", CONFIG)
