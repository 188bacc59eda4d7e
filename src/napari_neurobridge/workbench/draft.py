"""What a person has chosen before a project exists: images, points, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from numpy import allclose

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tables import read_points
from napari_neurobridge.io.volumes import ImageInfo, inspect_image
from napari_neurobridge.io.voxel_sizes import doubt_of
from napari_neurobridge.types import DEFAULT_NAMES, Projection, Role, Vec3
from napari_neurobridge.workflows.setup import DatasetSource

if TYPE_CHECKING:
    from collections.abc import Sequence

PROJECT_SUFFIX = ".neurobridge"
POINTS_SUFFIX = ".csv"


@dataclass(frozen=True)
class ImageChoice:
    """One image and how it is to be read.

    Attributes
    ----------
    info : ImageInfo
        What the file says about itself.
    stated_voxel_size_um : Vec3 or None
        Typed by a person; ``None``: as the file says.
    stated_axes : str or None
        Typed by a person; ``None``: as the file says.
    channel : int
        Counts from 0.
    projection : Projection
        How a recording becomes one plane.
    confirmed : bool
        Whether a person said that the voxel size is right although it looks like a mistake.
    suggested_um : Vec3 or None
        What the voxel size may be, where nobody knows it; a person has to say that it is.
    """

    info: ImageInfo
    stated_voxel_size_um: Vec3 | None = None
    stated_axes: str | None = None
    channel: int = 0
    projection: Projection = Projection.MEAN
    confirmed: bool = False
    suggested_um: Vec3 | None = None

    @classmethod
    def from_file(
        cls,
        path: Path,
        *,
        axes: str | None = None,
        voxel_size_um: Vec3 | None = None,
        suggested_um: Vec3 | None = None,
    ) -> ImageChoice:
        """Read a file's metadata; raises `InputError` when it cannot be read.

        A voxel size that is the file's own counts as not stated.
        """
        info = inspect_image(path, axes=axes)
        own = info.voxel_size_um
        if voxel_size_um is not None and own is not None and allclose(voxel_size_um, own):
            voxel_size_um = None
        return cls(info, voxel_size_um, axes, suggested_um=suggested_um)

    @property
    def voxel_size_um(self) -> Vec3 | None:
        """µm (z, y, x): as typed, else as in the file; ``None`` while nobody knows."""
        return self.stated_voxel_size_um or self.info.voxel_size_um

    @property
    def doubt(self) -> str:
        """Why the voxel size looks like a mistake; empty when it does not, or is confirmed."""
        if self.voxel_size_um is None or self.confirmed:
            return ""
        lengths = dict(zip(self.info.axes, self.info.shape, strict=True))
        shape = lengths.get("z", 1), lengths.get("y", 1), lengths.get("x", 1)
        return doubt_of(self.voxel_size_um, shape)

    def read_anew(self, axes: str | None) -> ImageChoice:
        """Read the same file by another order of axes; what else was stated stays.

        Raises
        ------
        InputError
            If the axes do not fit the image.
        """
        info = inspect_image(self.info.path, axes=axes)
        channel = min(self.channel, info.channels - 1)
        return replace(self, info=info, stated_axes=axes, channel=channel)


@dataclass(frozen=True)
class PointsChoice:
    """One table of somata.

    Attributes
    ----------
    path : Path
        CSV ``[uid,]z_um,y_um,x_um``, µm.
    n_points : int
    """

    path: Path
    n_points: int

    @classmethod
    def from_file(cls, path: Path) -> PointsChoice:
        """Read a table; raises `InputError` when it cannot be read."""
        return cls(path, len(read_points(path)[1]))


@dataclass(frozen=True)
class ProjectDraft:
    """Choices on the way to a project: for each side an image, a table of points, or both."""

    images: dict[Role, ImageChoice] = field(default_factory=dict)
    points: dict[Role, PointsChoice] = field(default_factory=dict)

    def with_image(self, role: Role, choice: ImageChoice) -> ProjectDraft:
        """Return a draft in which ``role`` is played by another image."""
        return replace(self, images={**self.images, role: choice})

    def with_points(self, role: Role, choice: PointsChoice) -> ProjectDraft:
        """Return a draft in which the somata of ``role`` come from another table."""
        return replace(self, points={**self.points, role: choice})

    def chosen(self, role: Role) -> bool:
        """Return whether there is anything for ``role``."""
        return role in self.images or role in self.points

    def with_voxel_size(self, role: Role, voxel_size_um: Vec3) -> ProjectDraft:
        """Return a draft with a voxel size, µm (z, y, x), typed by a person."""
        if role not in self.images:
            raise InputError("Choose the image before its voxel size.")
        lacking = [a for a, size in zip("zyx", voxel_size_um, strict=True) if not size > 0]
        if lacking:
            raise InputError(
                f"A voxel size must be above 0 µm; that of {DEFAULT_NAMES[role]} is missing along "
                f"{', '.join(lacking)}."
            )
        stated = replace(self.images[role], stated_voxel_size_um=voxel_size_um, confirmed=False)
        return self.with_image(role, stated)

    def with_confirmed_sizes(self) -> ProjectDraft:
        """Return a draft whose unusual voxel sizes a person said to be right."""
        images = {role: replace(image, confirmed=True) for role, image in self.images.items()}
        return replace(self, images=images)

    def with_reading(self, role: Role, *, channel: int, projection: Projection) -> ProjectDraft:
        """Return a draft that reads an image by another channel or projection."""
        if role not in self.images:
            raise InputError("Choose the image before its channel.")
        image = self.images[role]
        if not 0 <= channel < image.info.channels:
            raise InputError(f"This image has {image.info.channels} channels, counted from 0.")
        return self.with_image(role, replace(image, channel=channel, projection=projection))

    @property
    def complete(self) -> bool:
        """Whether both sides are there, and no voxel size is missing or in doubt."""
        ready = not self.missing_voxel_sizes and not self.doubts
        return all(map(self.chosen, Role)) and ready

    @property
    def doubts(self) -> tuple[str, ...]:
        """Voxel sizes that look like mistakes and are not confirmed, a sentence each."""
        return tuple(
            f"{DEFAULT_NAMES[role]}: {image.doubt}"
            for role, image in self.images.items()
            if image.doubt
        )

    @property
    def missing_voxel_sizes(self) -> tuple[Role, ...]:
        """Images whose files do not say how large a voxel is."""
        return tuple(role for role, image in self.images.items() if image.voxel_size_um is None)

    def assign_roles(self, paths: Sequence[Path]) -> dict[Role, Path]:
        """Guess which microscope each dropped file comes from.

        OME-Zarr is how whole-brain volumes are stored; anything else fills the first
        free line, two-photon before fMOST.

        Raises
        ------
        InputError
            If there are more files than free lines.
        """
        free = [role for role in Role if role not in self.images]
        if len(paths) > len(free):
            raise InputError(
                "Both images are chosen already; replace one with its own button."
                if not free
                else f"Drop one image for each line that is free; these are {len(paths)} files."
            )
        assigned: dict[Role, Path] = {}
        for path in sorted(paths, key=lambda path: path.suffix != ".zarr"):
            likely = Role.EX_VIVO if path.suffix == ".zarr" else Role.IN_VIVO
            role = likely if likely in free else free[0]
            free.remove(role)
            assigned[role] = path
        return assigned

    def assign_points(self, paths: Sequence[Path]) -> dict[Role, Path]:
        """Guess which side each dropped table of points belongs to.

        A table whose name says it goes where it says; any other fills the first side that
        has nothing, then the first that has no table.

        Raises
        ------
        InputError
            If there are more tables than sides without one.
        """
        free = [role for role in Role if role not in self.points]
        if len(paths) > len(free):
            raise InputError(
                "Both sides have their points already; replace a table with its own button."
                if not free
                else f"Drop one table of points for each side; these are {len(paths)}."
            )
        free.sort(key=self.chosen)
        assigned: dict[Role, Path] = {}
        named = {path: role for path in paths for role in Role if DEFAULT_NAMES[role] in path.stem}
        for path in sorted(paths, key=lambda path: path not in named):
            role = named[path] if named.get(path) in free else free[0]
            free.remove(role)
            assigned[role] = path
        return assigned

    def suggested_folder(self) -> Path:
        """Return a project folder beside the two-photon file that does not exist yet."""
        image, points = self.images.get(Role.IN_VIVO), self.points.get(Role.IN_VIVO)
        if image is not None:
            source = Path(image.info.path)
        elif points is not None:
            source = points.path
        else:
            raise InputError(f"Choose the {DEFAULT_NAMES[Role.IN_VIVO]} image or points first.")
        stem = source.name.split(".")[0]
        folder = source.with_name(stem + PROJECT_SUFFIX)
        number = 2
        while folder.exists():
            folder = source.with_name(f"{stem}-{number}{PROJECT_SUFFIX}")
            number += 1
        return folder

    def to_sources(self) -> tuple[DatasetSource, ...]:
        """Return the datasets of the finished draft.

        Raises
        ------
        InputError
            If a side or a voxel size is still missing.
        """
        for role in Role:
            if not self.chosen(role):
                raise InputError(f"Choose the {DEFAULT_NAMES[role]} image or points first.")
        if self.missing_voxel_sizes:
            names = ", ".join(DEFAULT_NAMES[role] for role in self.missing_voxel_sizes)
            raise InputError(f"Type the voxel size of {names} in µm; the file does not say it.")
        if self.doubts:
            raise InputError(f"Confirm or correct the voxel size of {self.doubts[0]}.")
        return tuple(map(self._source, Role))

    def _source(self, role: Role) -> DatasetSource:
        points = self.points.get(role)
        source = DatasetSource(
            name=DEFAULT_NAMES[role], role=role, points=None if points is None else points.path
        )
        image = self.images.get(role)
        if image is None:
            return source
        return replace(
            source,
            image=Path(image.info.path),
            axes=image.stated_axes,
            voxel_size_um=image.stated_voxel_size_um,
            channel=image.channel,
            projection=image.projection,
        )
