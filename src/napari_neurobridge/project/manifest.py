"""The project's datasets, and the ``project.toml`` that lists them."""

from __future__ import annotations

import os
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

import napari_neurobridge
from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.volumes import inspect_image
from napari_neurobridge.project.parsing import parse_model
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.types import Projection, Role, Vec3

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt

MANIFEST_NAME = "project.toml"
SCHEMA_VERSION = 2

# Names become folders and parts of uids, on Windows too.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_WINDOWS_DEVICES = re.compile(r"(?i)con|prn|aux|nul|com\d|lpt\d")
_MOST_STEPS_UP = 3

_Size: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class DatasetSpec(BaseModel):
    """One imaged volume, plane, time series or table of points.

    Attributes
    ----------
    name : str
        Letters, digits, ``_`` and ``-``.
    role : Role
        Which microscope it comes from.
    uri : str or None
        The image, relative to the project folder when near it, else absolute; ``None``
        for a dataset that has only points.
    axes : str or None
        Stated by a person, such as ``"tyx"``; ``None``: as the file says.
    voxel_size_um : Vec3 or None
        µm (z, y, x), stated by a person; ``None``: as the file says.
    file_voxel_size_um : Vec3 or None
        µm (z, y, x), which the file said when the dataset was added.
    channel : int
        From 0.
    projection : Projection
        How a time series becomes one plane.
    optical_axis : str
        The stored axis along which the microscope looked.
    orientation : Orientation or None
        Rough placing in the frame of the project's default in-vivo dataset, stated by a
        person; ``None`` while nobody has said it.
    fingerprint : str or None
        Of the image when it was added.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    role: Role
    uri: str | None = None
    axes: str | None = None
    voxel_size_um: tuple[_Size, _Size, _Size] | None = None
    file_voxel_size_um: tuple[_Size, _Size, _Size] | None = None
    channel: Annotated[int, Field(ge=0)] = 0
    projection: Projection = Projection.MEAN
    optical_axis: Literal["z", "y", "x"] = "z"
    orientation: Orientation | None = None
    fingerprint: str | None = None

    @field_validator("name")
    @classmethod
    def _portable_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name) or _WINDOWS_DEVICES.fullmatch(name):
            raise ValueError(
                f"a dataset's name is made of letters, digits, '_' and '-', not '{name}'"
            )
        return name

    @property
    def used_voxel_size_um(self) -> Vec3 | None:
        """µm (z, y, x): as stated, else as in the file; ``None`` for points."""
        return self.voxel_size_um or self.file_voxel_size_um

    @property
    def used_orientation(self) -> Orientation:
        """As stated, else the same axes as the default in-vivo dataset."""
        return self.orientation or Orientation()

    def linear(self) -> npt.NDArray[np.float64]:
        """Return the (3, 3) matrix from in-vivo offsets to offsets in this dataset, µm.

        Of the stated orientation, else the identity.
        """
        return self.used_orientation.linear()


def dataset_spec(**fields: Any) -> DatasetSpec:
    """Make a `DatasetSpec` from what a user typed.

    Raises
    ------
    InputError
        With one sentence about the first field that is wrong.
    """
    return parse_model(DatasetSpec, fields, what=f"Dataset '{fields.get('name', '')}'")


class Manifest(BaseModel):
    """What ``project.toml`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    software_version: str = napari_neurobridge.__version__
    created: datetime
    datasets: tuple[DatasetSpec, ...] = ()

    @classmethod
    def new(cls, datasets: Iterable[DatasetSpec]) -> Manifest:
        """Make the manifest of a new project."""
        return cls(created=datetime.now(UTC).replace(microsecond=0), datasets=tuple(datasets))

    @field_validator("datasets")
    @classmethod
    def _unique_names(cls, datasets: tuple[DatasetSpec, ...]) -> tuple[DatasetSpec, ...]:
        # Lower case: two names must not become one folder on Windows and macOS.
        names = [spec.name.lower() for spec in datasets]
        if len(set(names)) != len(names):
            raise ValueError("two datasets have the same name")
        return datasets

    def with_dataset(self, spec: DatasetSpec) -> Manifest:
        """Return a manifest in which ``spec`` replaces the dataset of its name, or is added."""
        datasets = {known.name: known for known in self.datasets} | {spec.name: spec}
        return parse_model(
            Manifest,
            {**dict(self), "datasets": tuple(datasets.values())},
            what=f"Dataset '{spec.name}' cannot be added",
        )


def read_manifest(folder: Path) -> Manifest:
    """Read the ``project.toml`` of a project folder.

    Raises
    ------
    InputError
        If there is none, it is damaged, or a newer version of the program made it.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise InputError(
            f"{folder} is no NeuroBridge project: it holds no {MANIFEST_NAME}.",
            kind=ErrorKind.NO_PROJECT,
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged ({error}); mend it or restore a backup.") from error
    version = values.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(
            f"{folder} was made by a newer version of napari-neurobridge (schema {version}, this "
            f"program knows {SCHEMA_VERSION}); update napari-neurobridge to open it."
        )
    if type(version) is not int or version < 1:  # in TOML, true is no number
        raise InputError(f"{path} is damaged: schema_version must be {SCHEMA_VERSION}.")
    if version == 1:
        values = _from_schema_1(values)
    return parse_model(Manifest, values, what=f"{path} is damaged")


def _from_schema_1(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out orientations that are the default: nobody had to state one then."""
    datasets = values.get("datasets", [])
    if isinstance(datasets, list):
        datasets = [
            {name: value for name, value in spec.items() if name != "orientation"}
            if isinstance(spec, dict) and _is_default(spec.get("orientation"))
            else spec
            for spec in datasets
        ]
    return {**values, "schema_version": SCHEMA_VERSION, "datasets": datasets}


def _is_default(orientation: object) -> bool:
    try:
        return Orientation.model_validate(orientation) == Orientation()
    except ValidationError:
        return False


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the ``project.toml`` of a project folder, whole or not at all."""
    values = manifest.model_dump(exclude_none=True)
    values["datasets"] = [
        spec.model_dump(mode="json", exclude_none=True) for spec in manifest.datasets
    ]
    with atomic_write(folder / MANIFEST_NAME) as temporary:
        temporary.write_text(tomli_w.dumps(values), encoding="utf-8")


def locate(uri: str, folder: Path) -> Path:
    """Return where a dataset's image lies, given its uri in the project ``folder``."""
    return Path(os.path.normpath(folder / uri))


def stored_uri(path: Path, folder: Path) -> str:
    """Return how a project stores a path: relative when near, so that both can move together.

    Parameters
    ----------
    path : Path
        The image.
    folder : Path
        The project folder.

    Returns
    -------
    str
        With ``/`` between its parts on every system.
    """
    path, folder = Path(os.path.abspath(path)), Path(os.path.abspath(folder))
    try:
        relative = Path(os.path.relpath(path, folder))
    except ValueError:  # another drive on Windows
        return path.as_posix()
    shared = Path(os.path.commonpath([path, folder]))
    steps_up = relative.parts.count(os.pardir)
    near = shared != Path(shared.anchor) and steps_up <= _MOST_STEPS_UP
    return (relative if near else path).as_posix()


def with_new_dataset(manifest: Manifest, spec: DatasetSpec, folder: Path) -> Manifest:
    """Return a manifest with one dataset more, filled in from its image.

    Raises
    ------
    InputError
        If the name is taken, or the image is missing or cannot be read.
    """
    if any(spec.name.lower() == known.name.lower() for known in manifest.datasets):
        raise InputError(f"The project already has a dataset '{spec.name}'; choose another name.")
    return manifest.with_dataset(_as_stored(spec, folder))


def _as_stored(spec: DatasetSpec, folder: Path) -> DatasetSpec:
    """Fill in what the image's file says, and store its place relative to the project."""
    if spec.uri is None:
        return spec
    here, there = Path(os.path.abspath(spec.uri)), locate(spec.uri, folder)
    path = here if here.exists() else there
    if not path.exists():
        raise InputError(f"There is no image {here} for dataset '{spec.name}'; check the path.")
    info = inspect_image(path, axes=spec.axes)
    return spec.model_copy(
        update={
            "uri": stored_uri(path, folder),
            "file_voxel_size_um": info.voxel_size_um,
            "fingerprint": spec.fingerprint or info.fingerprint,
        }
    )
