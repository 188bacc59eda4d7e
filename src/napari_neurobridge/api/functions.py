"""The functions of ``import napari_neurobridge as nb``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_neurobridge.api.open_project import OpenProject
from napari_neurobridge.api.results import PointMatchResult
from napari_neurobridge.errors import InputError
from napari_neurobridge.project.folder import Project
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.types import DEFAULT_NAMES, Projection, Role
from napari_neurobridge.workflows.setup import DatasetSource, create_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.insight.registration_page import RegisteredPlanes
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.simulation.scene_files import SceneFiles
    from napari_neurobridge.types import Vec3
    from napari_neurobridge.workflows.register_volume import RegisteredVolume

__all__ = [
    "create", "load_encoder", "match_points", "open", "register_images", "simulate", "view",
]  # fmt: skip


def create(
    path: str | Path,
    *,
    two_photon: str | Path | None = None,
    fmost: str | Path | None = None,
    two_photon_points: str | Path | None = None,
    fmost_points: str | Path | None = None,
    orientation: str | Orientation | None = None,
    voxel_two_photon_um: Vec3 | None = None,
    voxel_fmost_um: Vec3 | None = None,
    channel: int = 0,
    projection: str = Projection.MEAN,
) -> OpenProject:
    """Make a project folder, as ``neurobridge init`` does.

    Parameters
    ----------
    path : str or Path
        The folder, such as ``"mouse17.neurobridge"``; must not exist, or be empty.
    two_photon, fmost : str or Path, optional
        Images, TIFF or OME-Zarr; they stay where they are.
    two_photon_points, fmost_points : str or Path, optional
        Tables ``[uid,]z_um,y_um,x_um`` of somata, CSV, µm; with or instead of an image.
    orientation : str or Orientation, optional
        Which fMOST axes, with their signs, run along the two-photon depth, rows and columns,
        such as ``"+y+z-x"``. Not stated unless given.
    voxel_two_photon_um, voxel_fmost_um : tuple of 3 floats, optional
        µm (z, y, x); read from the images unless given.
    channel : int
        Of both images, counting from 0.
    projection : str
        How a time series becomes one plane.

    Returns
    -------
    OpenProject

    Raises
    ------
    InputError
        If an image or table cannot be read, a voxel size is nowhere to be found, or the
        folder is not free.
    """
    lies = Orientation(axes=orientation) if isinstance(orientation, str) else orientation
    sides: list[tuple[Role, Any, Any, Any, Any]] = [
        (Role.IN_VIVO, two_photon, two_photon_points, voxel_two_photon_um, None),
        (Role.EX_VIVO, fmost, fmost_points, voxel_fmost_um, lies),
    ]
    sources = [
        DatasetSource(
            name=DEFAULT_NAMES[role],
            role=role,
            image=None if image is None else Path(image),
            points=None if points is None else Path(points),
            voxel_size_um=voxel,
            channel=channel,
            projection=Projection(projection),
            **({} if turned is None else {"orientation": turned}),
        )
        for role, image, points, voxel, turned in sides
        if image is not None or points is not None
    ]
    if not sources:
        raise InputError("A project needs an image or a table of points to begin with.")
    return OpenProject(create_project(Path(path), sources))


def open(path: str | Path) -> OpenProject:
    """Open a project folder.

    Raises
    ------
    InputError
        If there is no project, it is damaged, or a newer program made it.
    """
    return OpenProject(Project.open(path))


def match_points(
    queries_um: npt.ArrayLike,
    gallery_um: npt.ArrayLike,
    pairs: Sequence[tuple[int, int]],
    *,
    orientation: npt.ArrayLike | None = None,
) -> PointMatchResult:
    """Match two sets of points from a few known pairs; no project is needed.

    Parameters
    ----------
    queries_um : array_like, shape (N, 3)
        Points of one space, µm (z, y, x).
    gallery_um : array_like, shape (M, 3)
        Points of the other.
    pairs : sequence of (int, int)
        Known partners: a row of ``queries_um``, and one of ``gallery_um``. Four or more that
        are spread out; wrong ones are found if there are not too many.
    orientation : array_like, shape (3, 3), optional
        Rough linear part of the map from queries to gallery, right to about 15°.

    Returns
    -------
    PointMatchResult
        Its tables name the rows of the two arrays.

    Raises
    ------
    InputError
        If points are no finite numbers in µm, or a pair names a row that is not there.
    """
    from napari_neurobridge.matching.match_points import match_point_sets

    return PointMatchResult(
        match_point_sets(queries_um, gallery_um, pairs, orientation=orientation)
    )


def register_images(
    source: str | Path,
    target: str | Path,
    *,
    source_pixel_um: float | None = None,
    target_pixel_um: float | None = None,
    projection: str | None = None,
    angle_deg: float | None = None,
    within_deg: float | None = None,
    matcher: str | None = None,
    target_voxel_um: Vec3 | None = None,
    orientation: Orientation | str | None = None,
    out: str | Path | None = None,
) -> RegisteredPlanes | RegisteredVolume:
    """Register two images from their pixels alone, or refuse them, as ``register-images`` does.

    A target that is a stack is a volume in which the source is looked for, unless ``projection``
    is given without ``orientation``.

    Parameters
    ----------
    source, target : str or Path
        TIFF, OME-Zarr or PNG.
    source_pixel_um, target_pixel_um : float, optional
        Sides of their pixels; from the files unless given.
    projection : str, optional
        How stacks and recordings become one plane: mean, max, std or correlation.
    angle_deg : float, optional
        By which the source is turned, positive from y to x; any unless given.
    within_deg : float, optional
        How far off that angle may be; 30° unless given.
    matcher : str, optional
        What planes are matched by: "pattern", of somata, unless given, or "semantic", the
        published matcher of keypoints.
    target_voxel_um : Vec3, optional
        Of a volume; from the file unless given.
    orientation : Orientation or str, optional
        Of a volume: axes such as ``"+y+z-x"``; the source's axes unless given.
    out : str or Path, optional
        Folder for the record, the matches and the quality page; nothing is written without it.

    Returns
    -------
    RegisteredPlanes or RegisteredVolume
        Its ``found`` holds ``decision``, ``evidence``, and ``transform``, which is None where the
        images are refused.

    Raises
    ------
    InputError
        If an image cannot be read as one plane, its pixel size is not known, or what is given
        belongs to another kind of target.
    """
    from napari_neurobridge.registration.image_registration import (
        ALL_ANGLES,
        WITHIN_DEG,
        angles_around,
    )
    from napari_neurobridge.workflows import register_images as workflow
    from napari_neurobridge.workflows.plane_files import PlaneFile, is_stack
    from napari_neurobridge.workflows.register_volume import VolumeFile, register_volume
    from napari_neurobridge.workflows.volume_registration_files import write_volume_registration

    wanted = None if projection is None else Projection(projection)
    here = PlaneFile(Path(source), source_pixel_um, wanted)
    there = PlaneFile(Path(target), target_pixel_um, wanted if orientation is None else None)
    if is_stack(there):
        if any(given is not None for given in (angle_deg, target_pixel_um, matcher)):
            raise InputError(
                "An angle, a target's pixel size and a matcher are for a target that is a plane."
            )
        stated = Orientation(axes=orientation) if isinstance(orientation, str) else orientation
        found = register_volume(here, VolumeFile(Path(target), target_voxel_um), orientation=stated)
        if out is not None:
            write_volume_registration(found, Path(out))
        return found
    within = WITHIN_DEG if within_deg is None else within_deg
    angles = ALL_ANGLES if angle_deg is None else angles_around(angle_deg, within)
    if target_voxel_um is not None or orientation is not None:
        raise InputError("A voxel size and an orientation are for a target that is a volume.")
    chosen = workflow.named_matcher(matcher or workflow.MatcherName.PATTERN)
    planes = workflow.register_images(here, there, matcher=chosen, angles=angles)
    if out is not None:
        workflow.write_registration(planes, Path(out))
    return planes


def load_encoder(model: str | Path | None = None) -> Encoder:
    """Load an encoder by name or folder; the bundled one unless given.

    Raises
    ------
    InputError
        If there is no such model, or it cannot be read.
    """
    from napari_neurobridge.workflows.index import load_encoder as load

    return load(None, model)


def simulate(
    kind: str = "scene",
    out: str | Path | None = None,
    *,
    level: str = "paper",
    seed: int = 0,
    size_um: Vec3 = (200.0, 400.0, 400.0),
    n: int = 53,
) -> SceneFiles | PairSet:
    """Simulate tissue as both microscopes see it.

    Parameters
    ----------
    kind : {"scene", "pairs"}
        Two images with the truth, as ``neurobridge simulate``; or crops of the same cells.
    out : str or Path, optional
        Folder of a scene; ``scene-<level>-<seed>`` in the current folder unless given.
    level : str
        Difficulty: easy, paper, hard, or an imaging domain.
    seed : int
        The same seed gives the same images.
    size_um : tuple of 3 floats
        Of a scene's block of tissue, µm (z, y, x).
    n : int
        How many pairs of crops.

    Returns
    -------
    SceneFiles or PairSet
        Where the images lie, or the crops.

    Raises
    ------
    InputError
        If the kind or the level is unknown.
    """
    if kind == "pairs":
        from napari_neurobridge.simulation.pairs import simulate_pairs

        return simulate_pairs(n, seed=seed, level=level)
    if kind != "scene":
        raise InputError(f"There is no simulation of '{kind}'; ask for a scene or pairs.")
    from napari_neurobridge.simulation.levels import level as named_level
    from napari_neurobridge.simulation.scene_files import simulate_scene

    folder = Path(f"scene-{level}-{seed}") if out is None else Path(out)
    return simulate_scene(folder, seed=seed, size_um=size_um, level=named_level(level))


def view(project: OpenProject | str | Path) -> Any:
    """Open a project in napari.

    Returns
    -------
    napari.Viewer
        In a script, ``napari.run()`` keeps it open.

    Raises
    ------
    InputError
        If there is no such project.
    """
    path = project.path if isinstance(project, OpenProject) else Path(project)
    if not path.is_dir():
        raise InputError(f"There is no project folder {path}.")
    # By name, since napari and Qt are no part of the library.
    napari = import_module("napari")
    viewer = napari.Viewer(title="NeuroBridge")
    import_module("napari_neurobridge.viewer.readers").show_project(viewer, path)
    return viewer
