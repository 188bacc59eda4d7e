"""A trained model as a folder: all that it holds is read and written here.

=======================  ==========================================================
``config.toml``          kind, version of the layout, and architecture
``weights.safetensors``  the weights; no other format is read
``calibration.toml``     what its similarities mean; see `ModelCalibration`
``fingerprint.npz``      what it makes of its training data
``card.md``              data, command, figures and limits, for people
``SHA256SUMS``           checksums of all but the card, as ``sha256sum -c`` reads them
=======================  ==========================================================

Building networks is left to those who know them: :mod:`napari_neurobridge.encoder.embed` and
those that read their weights by :mod:`napari_neurobridge.models.weights`.
"""

from __future__ import annotations

import hashlib
import tomllib
import zipfile
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.parser_race import despite_parser_race
from napari_neurobridge.models.zoo import CONFIG_FILE, WEIGHTS_FILE
from napari_neurobridge.project.parsing import parse_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

SCHEMA_VERSION = 1
CARD_FILE = "card.md"
FINGERPRINT_FILE = "fingerprint.npz"
CALIBRATION_FILE = "calibration.toml"
CHECKSUMS_FILE = "SHA256SUMS"

ENCODER, CONSTELLATION, GCCM = "encoder", "constellation", "gccm"
FEATURE_NET, SOMA_PAIR_NET = "feature-net", "soma-pair-net"
SEGMENTER = "segmenter"
SEMANTIC_MATCHER = "semantic-matcher"
_CHECKED_FILES = (CONFIG_FILE, WEIGHTS_FILE, CALIBRATION_FILE, FINGERPRINT_FILE)
HASH_DIGITS = 12

ConfigT = TypeVar("ConfigT", bound=BaseModel)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: str = Field("", description="Where the numbers come from, in a few words.")


class Likelihood(_Section):
    """Log likelihood ratio of two crops showing the same cell, a straight line in the margin.

    See `napari_neurobridge.matching.appearance.likelihood.Appearance`.
    """

    weight: float = Field(gt=0, le=1000, description="For each unit of the margin.")
    offset: float = Field(ge=-20, le=20, description="At margin 0.")


class Probability(_Section):
    """What the log odds of a first candidate are multiplied by, and what is added.

    See `napari_neurobridge.matching.calibration.Calibration`.
    """

    slope: float = Field(gt=0, le=100)
    offset: float = Field(ge=-20, le=20)


class ModelCalibration(BaseModel):
    """What a model's similarities mean; ``calibration.toml`` of a model folder.

    Attributes
    ----------
    likelihood : Likelihood or None
        ``None`` where nobody has measured it.
    probability : Probability or None
        Of matches that rest on the likelihood.
    trained_on : tuple of (str, str)
        Uids of the project's pairs that the model has learned; they look more alike to it
        than others, hence nothing is fitted to them.
    note : str
        What whoever reads the probabilities should know, in a sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    likelihood: Likelihood | None = None
    probability: Probability | None = None
    trained_on: tuple[tuple[str, str], ...] = ()
    note: str = ""


@dataclass(frozen=True, eq=False)
class ModelFolder:
    """A model folder; get one by `open` or `create`.

    Attributes
    ----------
    path : Path
    values : dict
        What ``config.toml`` says. Kind and version are known to be right, the rest is not
        checked before `config`.
    checksums : dict of file name to SHA-256, or None
        ``None`` for a folder from before there were checksums, which is read unchecked.
    """

    path: Path
    values: Mapping[str, Any]
    checksums: Mapping[str, str] | None

    @classmethod
    def open(cls, path: Path | str) -> ModelFolder:
        """Read what a folder says of itself; the weights are left alone.

        Raises
        ------
        InputError
            If its configuration or its checksums are missing or damaged, or it is of a
            newer version.
        """
        path = Path(path)
        checksums = _read_checksums(path / CHECKSUMS_FILE)
        file = path / CONFIG_FILE
        try:
            content = file.read_bytes()
        except OSError as error:
            raise InputError(
                f"There is no model configuration {file}.", kind=ErrorKind.NO_MODEL
            ) from error
        _verify(file, hashlib.sha256(content).hexdigest(), checksums)
        try:
            values = tomllib.loads(content.decode("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"The model configuration {file} is damaged.") from error
        _check_version(values.get("schema_version", 1), file)
        return cls(path, values, checksums)

    @classmethod
    def create(cls, path: Path | str, config: Mapping[str, Any], weights: bytes) -> ModelFolder:
        """Write configuration and weights into a folder that holds no model yet.

        Parameters
        ----------
        path : Path or str
            Made if need be.
        config : dict
            All of ``config.toml`` but its version.
        weights : bytes
            A safetensors file.

        Raises
        ------
        InputError
            If the folder holds weights already: models are never overwritten.
        """
        path = Path(path)
        if (path / WEIGHTS_FILE).exists():
            raise InputError(f"{path} holds a model already, and models are never overwritten.")
        with atomic_write(path / WEIGHTS_FILE) as temporary:
            temporary.write_bytes(weights)
        content = tomli_w.dumps({"schema_version": SCHEMA_VERSION, **config})
        _write_text(path / CONFIG_FILE, content)
        write_checksums(path)
        return cls.open(path)

    @property
    def name(self) -> str:
        """Name of the model, by which results cite it."""
        return str(self.values.get("name", self.path.name))

    @property
    def kind(self) -> str:
        """What it is: `ENCODER`, `CONSTELLATION`, `GCCM`, or a word that is not known here."""
        return str(self.values.get("kind", ENCODER))

    @property
    def dim(self) -> int | None:
        """Length of the vectors that an encoder makes, as far as the configuration tells."""
        dim = self.values.get("dim")
        return dim if isinstance(dim, int) else None

    @property
    def hash(self) -> str:
        """First 12 hex digits of the weights file's SHA-256, by which results cite the model.

        From memory while the file has the same time and size: every ranking asks for it.

        Raises
        ------
        InputError
            If there are no weights.
        """
        file = self._file(WEIGHTS_FILE)
        found = file.stat()
        return _remembered_sha256(file, found.st_mtime_ns, found.st_size)[:HASH_DIGITS]

    def require_kind(self, kind: str) -> None:
        """Raise `InputError` if it is another kind of model."""
        if self.kind != kind:
            raise InputError(
                f"'{self.path.name}' is a model of the kind '{self.kind}', not '{kind}'.",
                kind=ErrorKind.NO_MODEL,
            )

    def config(self, model: type[ConfigT]) -> ConfigT:
        """Return the configuration, validated, so that a network may be built from it.

        Raises
        ------
        InputError
            With the first thing that does not fit.
        """
        what = f"The model configuration {self.path / CONFIG_FILE} is damaged"
        return parse_model(model, dict(self.values), what=what)

    def weights(self) -> Path:
        """Return the weights file, after a look at its checksum.

        Raises
        ------
        InputError
            If it is missing or another than the one that was written.
        """
        return self._checked(WEIGHTS_FILE)

    @cached_property
    def calibration(self) -> ModelCalibration:
        """What its similarities mean; empty where the folder does not say.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        if not self._holds(CALIBRATION_FILE):
            return ModelCalibration()
        file = self._checked(CALIBRATION_FILE)
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"The calibration {file} is damaged.") from error
        _check_version(values.get("schema_version", 1), file)
        return parse_model(ModelCalibration, values, what=f"The calibration {file} is damaged")

    @property
    def card(self) -> str:
        """The text for people; empty where there is none."""
        file = self.path / CARD_FILE
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""

    @despite_parser_race
    def fingerprint(self) -> dict[str, npt.NDArray[Any]]:
        """Return what the model makes of its training data; empty where that is not known.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        if not self._holds(FINGERPRINT_FILE):
            return {}
        file = self._checked(FINGERPRINT_FILE)
        try:
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"The fingerprint {file} is damaged.") from error

    def verify(self) -> None:
        """Check all files at once; raises `InputError` for the first that is not whole."""
        self.weights()
        _ = self.calibration
        self.fingerprint()

    def write_card(self, text: str) -> None:
        """Write the text for people, which has no checksum: people may add to it."""
        _write_text(self.path / CARD_FILE, text)

    def write_calibration(self, calibration: ModelCalibration) -> ModelFolder:
        """Write what the similarities mean; return the folder as it is then."""
        values = calibration.model_dump(mode="json", exclude_defaults=True)
        content = tomli_w.dumps({"schema_version": SCHEMA_VERSION, **values})
        _write_text(self.path / CALIBRATION_FILE, content)
        return self._sealed()

    def write_fingerprint(self, arrays: Mapping[str, npt.NDArray[Any]]) -> ModelFolder:
        """Write what the model makes of its training data; return the folder as it is then."""
        path = self.path / FINGERPRINT_FILE
        with atomic_write(path) as temporary, temporary.open("wb") as handle:
            np.savez_compressed(handle, allow_pickle=False, **arrays)
        return self._sealed()

    def _sealed(self) -> ModelFolder:
        write_checksums(self.path)
        return ModelFolder.open(self.path)

    def _holds(self, name: str) -> bool:
        """Return whether a file that may be absent is to be read."""
        return (self.path / name).exists() or name in (self.checksums or ())

    def _checked(self, name: str) -> Path:
        file = self._file(name)
        if self.checksums is not None:
            _verify(file, _sha256(file), self.checksums)
        return file

    def _file(self, name: str) -> Path:
        file = self.path / name
        if not file.is_file():
            raise InputError(f"The model folder {self.path} lacks {name}.")
        return file


def write_checksums(folder: Path) -> None:
    """Write ``SHA256SUMS`` for the files that a model folder holds now."""
    held = [name for name in _CHECKED_FILES if (folder / name).is_file()]
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in held]
    _write_text(folder / CHECKSUMS_FILE, "".join(lines))


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        # Bytes, so that no system writes line ends of its own and changes the checksum.
        temporary.write_bytes(text.encode("utf-8"))


def _read_checksums(path: Path) -> dict[str, str] | None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The checksums {path} cannot be read.") from error
    pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
    if not pairs or any(len(pair) != 2 or len(pair[0]) != 64 for pair in pairs):
        raise InputError(f"The checksums {path} are damaged.")
    return {name.lstrip("*").strip(): digest.lower() for digest, name in pairs}


def _verify(file: Path, digest: str, checksums: Mapping[str, str] | None) -> None:
    if checksums is not None and checksums.get(file.name) != digest:
        raise InputError(
            f"{file} is damaged or was changed: its SHA-256 is not that of {CHECKSUMS_FILE}."
        )


def _check_version(version: object, file: Path) -> None:
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(
            f"{file} is of the newer version {version}; this program reads version "
            f"{SCHEMA_VERSION}."
        )
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise InputError(f"{file} states no version that is known: {version!r}.")


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _remembered_sha256(file: Path, _mtime_ns: int, _size: int) -> str:
    return _sha256(file)
