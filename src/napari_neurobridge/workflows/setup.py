"""From image files and tables of points to a project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tables import read_points
from napari_neurobridge.io.volumes import open_volume
from napari_neurobridge.io.voxel_sizes import doubt_of
from napari_neurobridge.project.folder import DatasetSpec, Project, dataset_spec
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import Projection, Role, Soma, SomaSource, Vec3

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.spaces.orientation import Orientation


@dataclass(frozen=True)
class DatasetSource:
    """A dataset as a user names it, before a project knows it.

    Attributes
    ----------
    name : str
        Name of the dataset and of its space.
    role : Role
        Which microscope it comes from.
    image : Path or None
        TIFF or OME-Zarr; ``None`` when there are only points.
    points : Path or None
        CSV ``[uid,]z_um,y_um,x_um`` of somata to import.
    voxel_size_um : Vec3 or None
        Stated by a person, over what the image says; ``None``: as the image says.
    axes : str or None
        Order of the image's axes, stated by a person; ``None``: as the image says.
    channel : int
        Counts from 0.
    projection : Projection
        How a time series becomes one plane.
    orientation : Orientation or None
        How the dataset lies in the two-photon frame; ``None`` while nobody has said it.
    """

    name: str
    role: Role
    image: Path | None = None
    points: Path | None = None
    voxel_size_um: Vec3 | None = None
    axes: str | None = None
    channel: int = 0
    projection: Projection = Projection.MEAN
    orientation: Orientation | None = None

    def to_spec(self) -> DatasetSpec:
        """Return the dataset that a project stores.

        Raises
        ------
        InputError
            If the image cannot be opened as described, or there is neither image nor
            table.
        """
        if self.image is None and self.points is None:
            raise InputError(f"Dataset '{self.name}' needs an image or a table of points.")
        if self.image is not None:
            # Opened once, so that a missing voxel size or channel is told now, not later.
            open_volume(
                self.image,
                name=self.name,
                axes=self.axes,
                voxel_size_um=self.voxel_size_um,
                channel=self.channel,
                projection=self.projection,
            )
        return dataset_spec(
            name=self.name,
            role=self.role,
            uri=None if self.image is None else str(self.image),
            axes=self.axes,
            voxel_size_um=self.voxel_size_um,
            channel=self.channel,
            projection=self.projection,
            orientation=self.orientation,
        )


def create_project(path: Path, sources: Sequence[DatasetSource]) -> Project:
    """Make a project folder, with the somata of all tables of points imported.

    Raises
    ------
    InputError
        If any source cannot be read, or the folder is not free. Nothing is made then.
    """
    specs = [source.to_spec() for source in sources]
    for source in sources:  # before anything is made
        if source.points is not None:
            read_points(source.points)
    project = Project.create(path, specs)
    for source in sources:
        if source.points is not None:
            import_points(project, source.name, source.points)
    return project


def doubtful_voxel_sizes(project: Project, names: Sequence[str] | None = None) -> list[str]:
    """Return which datasets have a voxel size that looks like a mistake, a sentence each.

    Parameters
    ----------
    project : Project
    names : sequence of str, optional
        Datasets to look at; all with images unless given.
    """
    doubts = []
    for name in project.datasets_with_images if names is None else names:
        if project.dataset(name).uri is not None:
            volume = project.volume(name)
            if doubt := doubt_of(volume.voxel_size_um, volume.shape):
                doubts.append(f"{name}: {doubt}")
    return doubts


def add_dataset(project: Project, source: DatasetSource) -> DatasetSpec:
    """Add a dataset to a project, with the somata of its table of points.

    Raises
    ------
    InputError
        If the source cannot be read, or the name is taken. Nothing is added then.
    """
    spec = source.to_spec()
    if source.points is not None:
        read_points(source.points)
    stored = project.add_dataset(spec)
    if source.points is not None:
        import_points(project, source.name, source.points)
    return stored


def import_points(
    project: Project, dataset: str, path: Path, *, annotator: str | None = None
) -> list[Soma]:
    """Import a CSV of points, µm in the space of ``dataset``, as somata.

    A uid belongs to one soma of the whole project. Where a table counts its cells as
    another dataset's table does, its uids get the dataset's name in front; see `named_uid`.

    Raises
    ------
    InputError
        If the dataset is unknown, the table cannot be read, or a uid is taken.
    """
    project.dataset(dataset)
    uids, centers_um = read_points(path)
    if uids is not None:
        uids = free_uids(project, dataset, uids)
    return annotate.add_somata(
        project,
        dataset,
        centers_um,
        source=SomaSource.IMPORTED,
        uids=uids,
        annotator=annotator,
    )


def free_uids(project: Project, dataset: str, uids: list[str]) -> list[str]:
    """Return uids with the dataset's name in front, where another dataset uses one of them."""
    others = {
        u for name, somata in project.state().somata.items() if name != dataset for u in somata
    }
    return [f"{dataset}-{uid}" for uid in uids] if others.intersection(uids) else uids


def named_uid(state: State, dataset: str, uid: str) -> str:
    """Return the project's uid of a soma that a person names as their own table does."""
    somata = state.somata.get(dataset, {})
    prefixed = f"{dataset}-{uid}"
    return prefixed if uid not in somata and prefixed in somata else uid
