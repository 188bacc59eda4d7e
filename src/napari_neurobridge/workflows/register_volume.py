"""Finding a plane, recording or stack in a whole volume, from the two images alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.insight.registration_page import RegisteredPlanes
from napari_neurobridge.io.volumes import inspect_image, open_volume
from napari_neurobridge.matching.constellation.localise import LocalisationParams, localise
from napari_neurobridge.registration.image_registration import register_planes
from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.registration.optical_plane import THICKNESS_UM, resliced
from napari_neurobridge.registration.quality import AcceptanceCriteria
from napari_neurobridge.registration.slabs import (
    PIXEL_UM,
    RECORDING,
    planes_somata,
    volume_somata,
)
from napari_neurobridge.spaces.affine import Affine
from napari_neurobridge.spaces.choose_fit import choose_fit
from napari_neurobridge.spaces.correspondences import Correspondences
from napari_neurobridge.spaces.orientation import Orientation
from napari_neurobridge.workflows.plane_files import PlaneFile, is_recording, is_stack, read_plane

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.matching.constellation.localise import Localisation
    from napari_neurobridge.matching.constellation.soma_matcher import SomaMatcher
    from napari_neurobridge.registration.image_registration import PlaneRegistration
    from napari_neurobridge.registration.quality import Evidence, RegistrationDecision
    from napari_neurobridge.spaces.choose_fit import FittedMap
    from napari_neurobridge.types import Report, Vec3

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class VolumeFile:
    """An image file that is a volume.

    Attributes
    ----------
    path : Path
        TIFF or OME-Zarr.
    voxel_um : Vec3 or None
        Size of a voxel; what the file says unless given.
    channel : int
        Counted from 0.
    """

    path: Path
    voxel_um: Vec3 | None = None
    channel: int = 0

    @property
    def name(self) -> str:
        """What its space is called, as a `PlaneFile`'s."""
        return PlaneFile(self.path).name

    def open(self) -> Volume:
        """Open it.

        Raises
        ------
        InputError
            If it cannot be read, or its voxel size is unknown.
        """
        try:
            return open_volume(
                self.path, name=self.name, voxel_size_um=self.voxel_um, channel=self.channel
            )
        except InputError as error:
            if error.kind is not ErrorKind.NO_VOXEL_SIZE:
                raise
            raise InputError(str(error), kind=ErrorKind.NO_TARGET_VOXEL_SIZE) from error


@dataclass(frozen=True, eq=False)
class VolumeRegistration:
    """Where a field lies in a volume, on what evidence, and whether that is enough.

    Attributes
    ----------
    localisation : Localisation
        Where the pattern of its somata lies.
    check : PlaneRegistration or None
        Of its plane to the volume re-sliced there; None where nothing was found.
    refined : FittedMap or None
        The map from field to volume that the check's matches say.
    depth_um : float
        Of the plane, in the field's own space.
    """

    localisation: Localisation
    check: PlaneRegistration | None
    refined: FittedMap | None
    depth_um: float = 0.0

    @property
    def decision(self) -> RegistrationDecision:
        """Accepted only if the pattern was found and the two planes agree."""
        said = self.localisation.decision
        return self.check.decision if said.accepted and self.check is not None else said

    @property
    def evidence(self) -> Evidence:
        """Of the two planes; of the pattern where there are none."""
        return self.localisation.evidence if self.check is None else self.check.evidence

    @property
    def transform(self) -> FittedMap | None:
        """The map from field to volume, µm (z, y, x); None unless it is accepted."""
        return self.refined if self.decision.accepted else None

    @property
    def places_um(self) -> tuple[Float64Array, Float64Array]:
        """Matched places of the planes in the field and in the volume, (K, 3) each."""
        found = self.localisation.choice
        if self.check is None or found is None:
            return np.empty((0, 3)), np.empty((0, 3))
        matches = self.check.matches
        here, there = (
            _at(places, self.depth_um) for places in (matches.source_um, matches.target_um)
        )
        return here, found.transform.map_points(there)


@dataclass(frozen=True, eq=False)
class RegisteredVolume:
    """What is written of a field and a volume.

    Attributes
    ----------
    source : PlanarImage
        The field's plane, or the middle slab of a stack.
    planes : RegisteredPlanes or None
        That plane and the volume re-sliced on its pixels where it was found, for the quality page.
    found : VolumeRegistration
    names : tuple of str
        Of the two spaces.
    """

    source: PlanarImage
    planes: RegisteredPlanes | None
    found: VolumeRegistration
    names: tuple[str, str]


@dataclass(frozen=True, eq=False)
class _Field:
    """Somata of the source, (N, 3), and a plane of it at some depth."""

    somata_um: Float64Array
    plane: PlanarImage
    depth_um: float = 0.0


def register_volume(
    source: PlaneFile,
    target: VolumeFile,
    *,
    orientation: Orientation | None = None,
    matcher: SomaMatcher | None = None,
    params: LocalisationParams | None = None,
    criteria: AcceptanceCriteria | None = None,
    report: Report | None = None,
) -> RegisteredVolume:
    """Find the field of one image file in the volume of another.

    The somata of both are detected, and their pattern is looked for at all places and in-plane
    angles. The volume is re-sliced along the optical axis where it was found, and the two planes
    are registered anew from their pixels alone: that has to be accepted, too, and its matches
    make the map more exact.

    Parameters
    ----------
    source : PlaneFile
        A plane or recording; a stack, unless its projection is stated.
    target : VolumeFile
    orientation : Orientation, optional
        Axes and expansion of the target; the same axes and size unless given. The angle counts
        for nothing.
    matcher : SomaMatcher, optional
        The one that comes with the package unless given.
    params : LocalisationParams, optional
        Of the search.
    criteria : AcceptanceCriteria, optional
        Of the two planes.
    report : Report, optional
        May raise to cancel.

    Raises
    ------
    InputError
        If a file cannot be read, or is no image of a plane, a stack or a volume of known size.
    """
    from napari_neurobridge.workflows.register_images import default_matcher, distinct_names

    matcher = matcher or default_matcher()
    rough = orientation or Orientation()
    names = distinct_names(source.name, target.name)
    volume = target.open()
    here = _field(source, matcher, report)
    somata = volume_somata(
        volume.levels[0],
        volume.voxel_size_um,
        matcher.extractor,
        axis=rough.axis_order[0],
        report=_of(target.name, report),
    )
    found = localise(
        here.somata_um,
        somata.positions_um,
        orientation=rough.linear(),
        params=params,
        names=names,
        report=report,
    )
    wanted = criteria or AcceptanceCriteria()
    if found.choice is None:
        nothing = VolumeRegistration(found, None, None, here.depth_um)
        return RegisteredVolume(here.plane, None, nothing, names)
    there = resliced(volume, found.choice.transform, here.plane, depth_um=here.depth_um)
    check = register_planes(here.plane, there, matcher, criteria=wanted, names=names, report=report)
    refined = _refined(found, check, here.depth_um, names)
    planes = RegisteredPlanes(here.plane, there, check, names, wanted)
    registered = VolumeRegistration(found, check, refined, here.depth_um)
    return RegisteredVolume(here.plane, planes, registered, names)


def _field(source: PlaneFile, matcher: SomaMatcher, report: Report | None) -> _Field:
    """Read the source, and find its somata."""
    if not is_stack(source):
        shown = RECORDING if is_recording(source) else (source.projection,)
        planes = [read_plane(replace(source, projection=one)) for one in shown]
        if report is not None:
            report(0, 0, f"{source.name}: looking for somata")
        found = planes_somata(planes, matcher.extractor)
        return _Field(_at(found.positions_um, 0.0), planes[0])
    volume = open_volume(
        source.path,
        name=source.name,
        voxel_size_um=_stack_voxel_um(source),
        channel=source.channel,
    )
    somata = volume_somata(
        volume.levels[0],
        volume.voxel_size_um,
        matcher.extractor,
        report=_of(source.name, report),
    )
    plane, depth_um = _middle_slab(volume)
    return _Field(somata.positions_um, plane, depth_um)


def _stack_voxel_um(source: PlaneFile) -> Vec3:
    """Return the size of a stack's voxels, across as it is stated."""
    said = inspect_image(source.path).voxel_size_um
    if said is None:
        raise InputError(f"{source.path} does not say how far its planes are apart.")
    return said if source.pixel_um is None else (said[0], source.pixel_um, source.pixel_um)


def _middle_slab(volume: Volume) -> tuple[PlanarImage, float]:
    """Return the brightest voxels of a slab in the middle of a stack, and its depth."""
    depth_um, *pixel = volume.voxel_size_um
    middle, half = volume.shape[0] // 2, int(THICKNESS_UM / 2 / depth_um)
    low, stop = max(middle - half, 0), min(middle + half + 1, volume.shape[0])
    slab = volume.read((low, 0, 0), (stop, *volume.shape[1:])).max(axis=0)
    plane = PlanarImage.squared(slab, (pixel[0], pixel[1]), PIXEL_UM)
    return plane, (low + stop - 1) / 2 * depth_um


def _of(name: str, report: Report | None) -> Report | None:
    """Return what tells progress with the name of the image."""
    if report is None:
        return None
    return lambda done, total, message: report(done, total, f"{name}: {message}")


def _refined(
    found: Localisation, check: PlaneRegistration, depth_um: float, names: tuple[str, str]
) -> FittedMap | None:
    """Return the map that the matches of the planes say; None if they say none."""
    assert found.choice is not None
    rough = found.choice.transform
    if check.fitted is None:
        return None
    matches = check.matches.take(check.agreeing)
    pairs = Correspondences(
        _at(matches.source_um, depth_um),
        rough.map_points(_at(matches.target_um, depth_um)),
        matches.confidence,
        source=names[0],
        target=names[1],
    )
    affine = rough if isinstance(rough, Affine) else rough.base
    return choose_fit(pairs, orientation=affine.linear).transform


def _at(points_um: Float64Array, depth_um: float) -> Float64Array:
    """Return places (N, 2) of a plane at its depth, (N, 3)."""
    return np.insert(points_um, 0, depth_um, axis=1)
