"""A project's map between two datasets as a file of another program, and such files read back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.transforms.bigwarp import BigWarpLandmarks, write_bigwarp
from napari_neurobridge.io.transforms.common import GridSettings, TransformFile
from napari_neurobridge.io.transforms.itk import ITK_SUFFIXES, read_itk, write_itk
from napari_neurobridge.io.transforms.ngff import NGFF_VERSIONS, write_ngff
from napari_neurobridge.io.transforms.ngff_reader import read_ngff
from napari_neurobridge.project.landmarks import ProjectLandmarks
from napari_neurobridge.spaces.affine import Affine
from napari_neurobridge.spaces.displacement_grid import as_affine

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.types import Report

MARGIN_UM = 25.0
"""A map is exported so far beyond a dataset's image and somata, on all sides."""


class TransformFormat(StrEnum):
    """How a map between two datasets is written."""

    NGFF = "ngff"
    ITK = "itk"
    BIGWARP = "bigwarp"


@dataclass(frozen=True)
class TransformRequest:
    """What is to be written.

    Attributes
    ----------
    source, target : str or None
        Datasets: points of the first are mapped to the second; in ITK's and BigWarp's words the
        first is fixed and the second moving. The in-vivo and the ex-vivo one unless given.
    ngff_version : str
        One of `NGFF_VERSIONS`.
    step_um : float or None
        Distance of the nodes of a grid; as its tolerance asks unless given.
    """

    source: str | None = None
    target: str | None = None
    ngff_version: str = NGFF_VERSIONS[0]
    step_um: float | None = None

    def datasets(self, project: Project) -> tuple[str, str]:
        """Return both datasets' names.

        Raises
        ------
        InputError
            If one is unknown, or both are the same.
        """
        names = (
            project.dataset(self.source or project.in_vivo()).name,
            project.dataset(self.target or project.ex_vivo()).name,
        )
        if names[0] == names[1]:
            raise InputError(f"'{names[0]}' needs no map to itself.")
        return names


def dataset_corners(project: Project, name: str) -> npt.NDArray[np.float64]:
    """Return opposite corners of the box around a dataset's image and somata, (2, 3) µm.

    Raises
    ------
    InputError
        If the dataset has neither.
    """
    corners = [np.array([soma.center_um for soma in project.state().somata[name].values()])]
    if project.dataset(name).uri is not None:
        corners.append(np.array([(0.0, 0.0, 0.0), project.volume(name).extent_um]))
    places = np.vstack([found.reshape(-1, 3) for found in corners])
    if not len(places):
        raise InputError(f"'{name}' has neither an image nor somata.", kind=ErrorKind.NO_SOMATA)
    return np.stack([places.min(axis=0) - MARGIN_UM, places.max(axis=0) + MARGIN_UM])


def export_transform(
    project: Project,
    out: Path,
    transform_format: str,
    request: TransformRequest | None = None,
    *,
    report: Report | None = None,
) -> TransformFile:
    """Write a project's current map between two datasets, or its landmarks.

    Parameters
    ----------
    project : Project
    out : Path
        Its suffix makes it the file (``.tfm`` or ``.h5``, ``.csv``) or the OME-Zarr folder
        (``.zarr``); any other is a folder for a file that is named after the two datasets.
    transform_format : str
        One of `TransformFormat`.
    request : TransformRequest, optional
    report : Report, optional

    Raises
    ------
    InputError
        If the format cannot say the map, a dataset is unknown, or there are no pairs for BigWarp.
    """
    wanted = request or TransformRequest()
    source, target = wanted.datasets(project)
    if transform_format == TransformFormat.BIGWARP:
        return _export_landmarks(project, _named(out, source, target, (".csv",)), source, target)
    transform = project.alignment(source, target)
    corners = dataset_corners(project, source)
    settings = GridSettings(step_um=wanted.step_um)
    if transform_format == TransformFormat.NGFF:
        path = _named(out, source, target, (".ome.zarr", ".zarr"))
        version = wanted.ngff_version
        return write_ngff(
            transform, path, corners, version=version, settings=settings, report=report
        )
    if transform_format == TransformFormat.ITK:
        affine = as_affine(transform, corners)
        suffixes = ITK_SUFFIXES if affine is not None else ITK_SUFFIXES[::-1]
        path = _named(out, source, target, suffixes)
        return write_itk(affine or transform, path, corners, settings=settings, report=report)
    known = ", ".join(TransformFormat)
    raise InputError(f"There is no format '{transform_format}' of maps; there are {known}.")


def _named(out: Path, source: str, target: str, suffixes: tuple[str, ...]) -> Path:
    """Return the path itself if it has one of the suffixes, else one in it, with the first."""
    if out.name.lower().endswith((*ITK_SUFFIXES, ".csv", ".zarr")):
        if not out.name.lower().endswith(suffixes):
            raise InputError(f"This is written as {' or '.join(suffixes)}, not {out.name}.")
        return out
    return out / f"{source}--{target}{suffixes[0]}"


def _export_landmarks(project: Project, path: Path, fixed: str, moving: str) -> TransformFile:
    landmarks = ProjectLandmarks.of(project.state(), fixed, moving)
    if not len(landmarks):
        raise InputError(
            f"There is no accepted pair of '{fixed}' and '{moving}'.", kind=ErrorKind.TOO_FEW_PAIRS
        )
    write_bigwarp(path, BigWarpLandmarks.of_places(landmarks.target_um, landmarks.source_um))
    return TransformFile(path, "bigwarp", "", fixed, moving, "landmarks", None, None)


def read_transform(
    project: Project,
    path: Path,
    source: str,
    target: str,
    *,
    unit: str = "µm",
) -> Transform:
    """Read a map between two datasets from an OME-Zarr folder or an ITK transform.

    Parameters
    ----------
    project : Project
        Whose datasets are named; nothing in it changes.
    path : Path
    source, target : str
        As in `TransformRequest`.
    unit : str
        Of an ITK transform's points; OME-NGFF says its own.

    Raises
    ------
    InputError
        If the file cannot be read, or would map the source onto the target if it was in mm.
    """
    for name in (source, target):
        project.dataset(name)
    if path.is_dir():
        return read_ngff(path, source=source, target=target)
    found = read_itk(path, source=source, target=target, unit=unit)
    if isinstance(found, Affine) and _fits_in_mm(project, found):
        raise InputError(
            f"{path} puts '{source}' far from '{target}', and would put it there if its shift was "
            "in mm."
        )
    return found


def _fits_in_mm(project: Project, affine: Affine) -> bool:
    """Return whether an affine misses the target, and meets it with a thousandfold shift."""
    try:
        here, there = (dataset_corners(project, name) for name in (affine.source, affine.target))
    except InputError:
        return False
    center, reach = there.mean(axis=0), float(np.linalg.norm(there[1] - there[0])) / 2
    turned = affine.linear @ here.mean(axis=0)
    away = [np.linalg.norm(turned + k * affine.translation - center) for k in (1, 1000)]
    return bool(away[0] > reach >= away[1])
