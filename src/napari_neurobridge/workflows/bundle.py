"""Job bundles: what a training needs as one file, to be trained on another machine.

=====================  ============================================================
``bundle.json``        which pairs are in which part, and what keeps them apart
``crops.npz``          the crops, 8 bits a pixel; no other image, and no place
``model/...``          the model that training starts from
``SHA256SUMS``         checksums of all of these
=====================  ============================================================

Nothing in the archive is compressed, so that nothing can be larger than the file itself.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.models.current import current_model
from napari_neurobridge.models.model_folder import (
    CALIBRATION_FILE,
    CHECKSUMS_FILE,
    ENCODER,
    FINGERPRINT_FILE,
    ModelFolder,
)
from napari_neurobridge.models.zoo import CONFIG_FILE, WEIGHTS_FILE, find_model
from napari_neurobridge.training.rejected import RejectedPairs
from napari_neurobridge.training.splits import Separation
from napari_neurobridge.workflows.training_set import (
    TrainingSet,
    crop_training_set,
    plan_training,
)

if TYPE_CHECKING:
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.training.fine_tune import FineTuneConfig
    from napari_neurobridge.types import Report
    from napari_neurobridge.workflows.train import TrainingResult

_FACTS, _CROPS, _MODEL = "bundle.json", "crops.npz", "model"
_MODEL_FILES = (CONFIG_FILE, WEIGHTS_FILE, CALIBRATION_FILE, FINGERPRINT_FILE, CHECKSUMS_FILE)
_NAMES = (CHECKSUMS_FILE, _FACTS, _CROPS, *(f"{_MODEL}/{name}" for name in _MODEL_FILES))
_PARTS = ("train", "validation", "test", "audits", "rejected")


class BundleFacts(BaseModel):
    """``bundle.json``: what the crops of a bundle are for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    model: str = Field(description="Name of the model that it starts from.")
    separation: Separation
    uids: tuple[tuple[str, str], ...] = Field(description="Of the training pairs.")
    neurons: tuple[tuple[int, int], ...] = Field(description="Of the rejected pairs.")
    n_free: int = Field(ge=0)
    n_left_out: int = Field(ge=0)


def write_bundle(
    project: Project,
    path: Path,
    *,
    model: str | None = None,
    free_labels: bool = False,
    seed: int = 0,
    report: Report | None = None,
) -> TrainingSet:
    """Write what a training of a project needs into one file.

    Only crops and the uids of their cells leave: no image, no place, and no path.

    Parameters
    ----------
    project : Project
    path : Path
        A file that does not exist yet.
    model : str, optional
        What to start from; the project's current model unless given.
    free_labels, seed
        See `plan_training`.
    report : callable, optional

    Returns
    -------
    TrainingSet
        What it holds.

    Raises
    ------
    InputError
        If the file exists, there are too few pairs, or a dataset has no image.
    """
    if path.exists():
        raise InputError(f"{path} exists already; name a new file for the bundle.")
    folder = ModelFolder.open(
        current_model(project).path if model is None else find_model(model, project)
    )
    folder.require_kind(ENCODER)
    folder.verify()
    plan = plan_training(project, seed=seed, free_labels=free_labels, report=report)
    data = crop_training_set(project, plan, report=report)
    rejected = data.rejected
    facts = BundleFacts(
        model=folder.name,
        separation=data.separation,
        uids=data.uids,
        neurons=() if rejected is None else tuple(map(tuple, rejected.neurons.tolist())),
        n_free=data.n_free,
        n_left_out=data.n_left_out,
    )
    contents = {_FACTS: facts.model_dump_json(indent=1).encode("utf-8"), _CROPS: _packed(data)}
    for name in _MODEL_FILES:
        if (folder.path / name).is_file():
            contents[f"{_MODEL}/{name}"] = (folder.path / name).read_bytes()
    sums = [f"{hashlib.sha256(held).hexdigest()}  {name}\n" for name, held in contents.items()]
    contents[CHECKSUMS_FILE] = "".join(sums).encode("utf-8")
    with atomic_write(path) as temporary, ZipFile(temporary, "w", ZIP_STORED) as archive:
        for name, held in contents.items():
            # A fixed date: the archive says nothing about this machine, not even its clock.
            archive.writestr(zipfile.ZipInfo(name), held)
    return data


def train_bundle(
    path: Path,
    out: Path,
    config: FineTuneConfig,
    *,
    epochs: int | None = None,
    report: Report | None = None,
) -> TrainingResult:
    """Fine-tune what a bundle holds, and write the model to the folder ``out``.

    See `train_file`.

    Raises
    ------
    InputError
        If the bundle is not what `write_bundle` wrote, to the byte, or ``out`` is in use.
    """
    contents = _read(path)
    data = _unpacked(path, contents)
    with TemporaryDirectory(prefix="neurobridge-") as folder:
        for name, held in contents.items():
            if name.startswith(f"{_MODEL}/"):
                Path(folder, PurePosixPath(name).name).write_bytes(held)
        from napari_neurobridge.workflows.train import TrainingRun, start_from

        encoder = start_from(None, folder, None, config.seed)
        return TrainingRun(encoder, data, config, epochs, report).finish_beside(out)


def _packed(data: TrainingSet) -> bytes:
    """Return the crops of all parts as an uncompressed npz, 8 bits a pixel."""
    arrays: dict[str, Any] = {}
    for name, part in zip(_PARTS, _parts(data), strict=True):
        if part is not None:
            arrays[f"{name}_two_photon"] = np.round(part.two_photon * 255).astype(np.uint8)
            arrays[f"{name}_fmost"] = np.round(part.fmost * 255).astype(np.uint8)
    handle = io.BytesIO()
    np.savez(handle, allow_pickle=False, **arrays)
    return handle.getvalue()


def _parts(data: TrainingSet) -> tuple[PairSet | None, ...]:
    rejected = None if data.rejected is None else data.rejected.pairs
    return data.train, data.validation, data.test, data.audits, rejected


def _read(path: Path) -> dict[str, bytes]:
    """Return the files of a bundle, all of them checked."""
    try:
        with ZipFile(path) as archive:
            for entry in archive.infolist():
                _check_entry(path, entry)
            names = archive.namelist()
            contents = {name: archive.read(name) for name in names}
    except FileNotFoundError:
        raise InputError(f"There is no bundle {path}.") from None
    except (OSError, EOFError, ValueError, BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path} is no readable bundle: {error}.") from None
    if len(contents) != len(names):
        raise InputError(f"The bundle {path} holds a file twice; it is not used.")
    for line in contents.pop(CHECKSUMS_FILE, b"").decode("utf-8", "replace").splitlines():
        digest, _, name = line.partition("  ")
        if hashlib.sha256(contents.get(name, b"")).hexdigest() != digest:
            raise InputError(f"{name!r} in the bundle {path} is damaged or was changed.")
        if name in names:
            names.remove(name)
    if names != [CHECKSUMS_FILE] or not {_FACTS, _CROPS} <= contents.keys():
        raise InputError(f"The bundle {path} is incomplete, or its checksums are.")
    return contents


def _check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    place = PurePosixPath(entry.filename.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or ":" in entry.filename:
        raise InputError(
            f"The bundle {path} names a file outside of its folder, {entry.filename!r}; it is not "
            "used."
        )
    if entry.filename not in _NAMES:
        raise InputError(f"The bundle {path} holds {entry.filename!r}, which no bundle does.")
    if entry.compress_type != ZIP_STORED or entry.file_size != entry.compress_size:
        raise InputError(
            f"{entry.filename!r} in the bundle {path} is compressed, which no bundle is: it could "
            "be larger than any memory."
        )


def _unpacked(path: Path, contents: dict[str, bytes]) -> TrainingSet:
    what = f"The bundle {path}"
    try:
        facts = BundleFacts.model_validate_json(contents[_FACTS])
        with ZipFile(io.BytesIO(contents[_CROPS])) as inner:
            if any(entry.compress_type != ZIP_STORED for entry in inner.infolist()):
                raise InputError(f"The crops in the bundle {path} are compressed, and not used.")
        with np.load(io.BytesIO(contents[_CROPS]), allow_pickle=False) as arrays:
            parts = {name: _part(arrays, name) for name in _PARTS}
    # A header may declare an array that is larger than any memory.
    except (
        ValidationError, OSError, EOFError, ValueError, KeyError, BadZipFile, MemoryError,
    ) as error:  # fmt: skip
        told = "its facts do not fit" if isinstance(error, ValidationError) else str(error)
        raise InputError(f"{what} cannot be read: {told}.") from None
    train, validation, test = (parts[name] for name in _PARTS[:3])
    if train is None or validation is None or test is None or len(facts.uids) != len(train):
        raise InputError(f"{what} lacks pairs to train on, to choose weights by or to compare.")
    rejected = None
    if parts["rejected"] is not None:
        neurons = np.array(facts.neurons, dtype=np.int64).reshape(-1, 2)
        rejected = RejectedPairs(parts["rejected"], neurons)
    return TrainingSet(
        train,
        validation,
        test,
        facts.separation,
        uids=facts.uids,
        rejected=rejected,
        audits=parts["audits"],
        n_free=facts.n_free,
        n_left_out=facts.n_left_out,
    )


def _part(arrays: Any, name: str) -> PairSet | None:
    if f"{name}_two_photon" not in arrays:
        return None
    sides = [arrays[f"{name}_{side}"] for side in ("two_photon", "fmost")]
    shape = sides[0].shape
    if any(s.dtype != np.uint8 or s.ndim != 3 or s.shape != shape for s in sides) or not shape[0]:
        raise ValueError(f"the crops of '{name}' have no shape that fits")
    first, second = (side.astype(np.float32) / np.float32(255) for side in sides)
    return PairSet(first, second, np.zeros(shape[0], dtype=np.int64))
