"""Registering two image files, and writing what was found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.registration_page import RegisteredPlanes, write_registration_page
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.ome_tiff import write_ome_tiff
from napari_neurobridge.io.tables import write_rows
from napari_neurobridge.io.transforms.bigwarp import BigWarpLandmarks, write_bigwarp
from napari_neurobridge.io.transforms.common import TransformFile
from napari_neurobridge.io.transforms.itk import ITK_SUFFIXES, write_itk
from napari_neurobridge.io.transforms.ngff import NGFF_VERSIONS, write_ngff
from napari_neurobridge.models.current import bundled_model, bundled_verifier
from napari_neurobridge.models.model_folder import SEMANTIC_MATCHER, SOMA_PAIR_NET
from napari_neurobridge.registration.image_matches import lifted
from napari_neurobridge.registration.image_registration import ALL_ANGLES, register_planes
from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.registration.plane_grid import last_um
from napari_neurobridge.registration.plane_warp import warp_plane
from napari_neurobridge.registration.quality import AcceptanceCriteria
from napari_neurobridge.spaces.displacement_grid import as_affine
from napari_neurobridge.workflows.plane_files import PlaneFile, read_plane
from napari_neurobridge.workflows.transforms import TransformFormat

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_neurobridge.matching.constellation.soma_matcher import SomaMatcher
    from napari_neurobridge.registration.image_matches import PatternMatcher, PlaneMatcher
    from napari_neurobridge.registration.semantic_matcher import SemanticMatcher
    from napari_neurobridge.spaces.choose_fit import FittedMap
    from napari_neurobridge.types import Report

RECORD_NAME = "registration.json"
MATCHES_NAME = "matches.csv"
PAGE_NAME = "quality.html"
WARPED_NAME = "source-on-target.ome.tif"
TRANSFORM_STEM = "transform"

_COLUMNS = (
    "source_y_um", "source_x_um", "target_y_um", "target_x_um", "probability", "confidence",
    "verified", "agrees",
)  # fmt: skip
# So thick a slab about depth 0 is what a map of planes is sampled on.
_HALF_SLAB_UM = 1.0


@dataclass(frozen=True)
class RegistrationOutput:
    """What is written of a registration beside record, matches and quality page.

    Attributes
    ----------
    transform_format : str or None
        One of `TransformFormat`; no map is written without it, or after a refusal.
    ngff_version : str
        One of `NGFF_VERSIONS`.
    warped : bool
        Whether the source is drawn on the target's pixels, if it is accepted.
    """

    transform_format: str | None = None
    ngff_version: str = NGFF_VERSIONS[0]
    warped: bool = False

    def __post_init__(self) -> None:
        wanted = self.transform_format
        if wanted is not None and wanted not in tuple(TransformFormat):
            known = ", ".join(TransformFormat)
            raise InputError(f"There is no format '{wanted}' of maps; there are {known}.")


def distinct_names(source: str, target: str) -> tuple[str, str]:
    """Return what two spaces are called, also where their files have one name."""
    if source == target:
        return f"{source} (source)", f"{target} (target)"
    return source, target


@lru_cache(maxsize=1)
def default_matcher() -> SomaMatcher:
    """Return the matcher of planes that comes with the package, the same one each time.

    Raises
    ------
    InputError
        If one of its models is not there, or cannot be read.
    """
    # PyTorch is not wanted by those who only read this module's names.
    from napari_neurobridge.matching.constellation.soma_matcher import SomaMatcher
    from napari_neurobridge.registration.feature_points import FeatureExtractor
    from napari_neurobridge.registration.gccm import load_gccm
    from napari_neurobridge.registration.soma_pairs import load_soma_pair_net

    return SomaMatcher(
        FeatureExtractor.bundled(),
        load_gccm(bundled_verifier(2)),
        load_soma_pair_net(bundled_model(SOMA_PAIR_NET)),
    )


@lru_cache(maxsize=1)
def semantic_matcher() -> SemanticMatcher:
    """Return the published matcher by what keypoints look like, the same one each time.

    Raises
    ------
    InputError
        If one of its models is not there, or cannot be read.
    """
    from napari_neurobridge.registration.feature_points import FeatureExtractor
    from napari_neurobridge.registration.semantic import SemanticFeatures
    from napari_neurobridge.registration.semantic_matcher import (
        SemanticMatcher,
        load_semantic_matcher,
    )

    return SemanticMatcher(
        load_semantic_matcher(bundled_model(SEMANTIC_MATCHER)),
        FeatureExtractor.bundled(),
        SemanticFeatures.of_encoder(),
    )


class MatcherName(StrEnum):
    """What images are matched by.

    ``PATTERN`` is the pattern of their somata and what these look like; ``SEMANTIC`` the published
    matcher of keypoints.
    """

    PATTERN = "pattern"
    SEMANTIC = "semantic"


def named_matcher(name: str) -> SomaMatcher | SemanticMatcher:
    """Return a matcher by its name.

    Raises
    ------
    InputError
        If there is none of that name, or its models cannot be read.
    """
    if name not in tuple(MatcherName):
        raise InputError(f"There is no matcher '{name}'; there are {', '.join(MatcherName)}.")
    return default_matcher() if name == MatcherName.PATTERN else semantic_matcher()


def register_images(
    source: PlaneFile,
    target: PlaneFile,
    *,
    matcher: PlaneMatcher | PatternMatcher | None = None,
    angles: Sequence[float] = ALL_ANGLES,
    criteria: AcceptanceCriteria | None = None,
    report: Report | None = None,
) -> RegisteredPlanes:
    """Register two image files.

    Parameters
    ----------
    source, target : PlaneFile
    matcher : PlaneMatcher, optional
        `default_matcher` unless given.
    angles, criteria, report
        See `register_planes`.

    Raises
    ------
    InputError
        If a file cannot be read as a plane, or `register_planes` refuses the two.
    """
    planes = read_plane(source), read_plane(target)
    names = distinct_names(source.name, target.name)
    wanted = criteria or AcceptanceCriteria()
    found = register_planes(
        *planes,
        matcher or default_matcher(),
        angles=angles,
        criteria=wanted,
        names=names,
        report=report,
    )
    return RegisteredPlanes(*planes, found, names, wanted)


def write_registration(
    planes: RegisteredPlanes,
    folder: Path,
    output: RegistrationOutput | None = None,
    *,
    report: Report | None = None,
) -> tuple[list[Path], TransformFile | None]:
    """Write a registration's record, matches, quality page, and if it is accepted its map.

    Parameters
    ----------
    planes : RegisteredPlanes
    folder : Path
        Is made; files of the same names are replaced.
    output : RegistrationOutput, optional
    report : Report, optional

    Returns
    -------
    files : list of Path
    transform : TransformFile or None
        How the map was written.

    Raises
    ------
    InputError
        If the format cannot say the map; all else is written then.
    """
    wanted = output or RegistrationOutput()
    record = folder / RECORD_NAME
    with atomic_write(record) as temporary:
        temporary.write_text(planes.found.to_json() + "\n", encoding="utf-8")
    matches = folder / MATCHES_NAME
    with atomic_write(matches) as temporary:
        write_rows(temporary, _COLUMNS, _match_rows(planes))
    files = [record, matches, write_registration_page(planes, folder / PAGE_NAME)]
    if planes.found.transform is None:
        return files, None
    if wanted.warped:
        files.append(_write_warped(planes, folder / WARPED_NAME, report))
    if wanted.transform_format is None:
        return files, None
    written = _write_transform(planes, folder, wanted, report)
    return [*files, written.path], written


def _match_rows(planes: RegisteredPlanes) -> list[list[object]]:
    found = planes.found
    matches = found.matches
    columns = (
        *matches.source_um.T,
        *matches.target_um.T,
        matches.probability,
        matches.confidence,
        matches.verified.astype(int),
        found.agreeing.astype(int),
    )
    return [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def write_map(
    transform: FittedMap,
    folder: Path,
    corners_um: npt.NDArray[np.float64],
    wanted: RegistrationOutput,
    report: Report | None = None,
) -> TransformFile:
    """Write a map in the format asked for, other than landmarks.

    Parameters
    ----------
    transform : Affine or ThinPlate
    folder : Path
    corners_um : ndarray, shape (2, 3)
        Box in which it is to hold, µm (z, y, x) of its source.
    wanted : RegistrationOutput
    report : Report, optional

    Raises
    ------
    InputError
        If the format cannot say the map.
    """
    path = folder / TRANSFORM_STEM
    if wanted.transform_format == TransformFormat.NGFF:
        path = path.with_suffix(".ome.zarr")
        return write_ngff(transform, path, corners_um, version=wanted.ngff_version, report=report)
    is_affine = as_affine(transform, corners_um) is not None
    path = path.with_suffix(ITK_SUFFIXES[0 if is_affine else 1])
    return write_itk(transform, path, corners_um, report=report)


def write_landmarks(
    folder: Path,
    source_um: npt.NDArray[np.float64],
    target_um: npt.NDArray[np.float64],
    names: tuple[str, str],
) -> TransformFile:
    """Write matched places as BigWarp's landmarks; the source is fixed."""
    path = folder / f"{TRANSFORM_STEM}.csv"
    write_bigwarp(path, BigWarpLandmarks.of_places(target_um, source_um))
    return TransformFile(path, "bigwarp", "", *names, "landmarks", None, None)


def write_plane(plane: PlanarImage, path: Path) -> Path:
    """Write a plane as OME-TIFF."""
    with atomic_write(path) as temporary:
        write_ome_tiff(
            temporary,
            iter([plane.values]),
            axes="YX",
            shape=plane.values.shape,
            dtype=plane.values.dtype,
            step_um={"Y": plane.pixel_um, "X": plane.pixel_um},
        )
    return path


def _write_transform(
    planes: RegisteredPlanes, folder: Path, wanted: RegistrationOutput, report: Report | None
) -> TransformFile:
    """Write the map in the format asked for."""
    transform = planes.found.transform
    assert transform is not None
    if wanted.transform_format == TransformFormat.BIGWARP:
        matches = planes.found.matches.take(planes.found.agreeing)
        return write_landmarks(folder, matches.source_um, matches.target_um, planes.names)
    corners = lifted(np.stack([np.zeros(2), last_um(planes.source)]))
    corners[:, 0] = (-_HALF_SLAB_UM, _HALF_SLAB_UM)
    return write_map(transform, folder, corners, wanted, report)


def _write_warped(planes: RegisteredPlanes, path: Path, report: Report | None) -> Path:
    transform = planes.found.transform
    assert transform is not None
    values = warp_plane(
        planes.source, transform.inverse(), planes.target, name=planes.names[0], report=report
    )
    return write_plane(PlanarImage(values, planes.target.pixel_um), path)
