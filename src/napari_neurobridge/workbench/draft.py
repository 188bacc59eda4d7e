"""What a person has chosen before a project exists: two images and what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.volumes import ImageInfo, inspect_image
from napari_neurobridge.types import DEFAULT_NAMES, Projection, Role, Vec3
from napari_neurobridge.workbench.actions import DatasetSource

if TYPE_CHECKING:
    from collections.abc import Sequence

PROJECT_SUFFIX = ".neurobridge"


@dataclass(frozen=True)
class ImageChoice:
    """One image and how it is to be read.

    Attributes
    ----------
    info : ImageInfo
        What the file says about itself.
    voxel_size_um : Vec3 or None
        From the file, or typed by a person; ``None`` while nobody knows.
    channel : int
        Counts from 0.
    projection : Projection
        How a recording becomes one plane.
    """

    info: ImageInfo
    voxel_size_um: Vec3 | None
    channel: int = 0
    projection: Projection = Projection.MEAN

    @classmethod
    def from_file(cls, path: Path, *, axes: str | None = None) -> ImageChoice:
        """Read a file's metadata; raises `InputError` when it cannot be read."""
        info = inspect_image(path, axes=axes)
        return cls(info=info, voxel_size_um=info.voxel_size_um)

    def to_source(self, role: Role) -> DatasetSource:
        """Return the dataset that a project is made from."""
        return DatasetSource(
            name=DEFAULT_NAMES[role],
            role=role,
            image=Path(self.info.path),
            axes=self.info.axes,
            voxel_size_um=self.voxel_size_um,
            channel=self.channel,
            projection=self.projection,
        )


@dataclass(frozen=True)
class ProjectDraft:
    """Choices on the way to a project."""

    images: dict[Role, ImageChoice] = field(default_factory=dict)

    def with_image(self, role: Role, choice: ImageChoice) -> ProjectDraft:
        """Return a draft in which ``role`` is played by another image."""
        return ProjectDraft({**self.images, role: choice})

    def with_voxel_size(self, role: Role, voxel_size_um: Vec3) -> ProjectDraft:
        """Return a draft with a voxel size, µm (z, y, x), typed by a person."""
        if role not in self.images:
            raise InputError("Choose the image before its voxel size.")
        if min(voxel_size_um) <= 0:
            raise InputError(f"Voxel sizes must be positive µm, not {voxel_size_um}.")
        return self.with_image(role, replace(self.images[role], voxel_size_um=voxel_size_um))

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
        """Whether both images are there and both voxel sizes are known."""
        return len(self.images) == len(Role) and not self.missing_voxel_sizes

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

    def suggested_folder(self) -> Path:
        """Return a project folder beside the two-photon file that does not exist yet."""
        source = Path(self.images[Role.IN_VIVO].info.path)
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
            If an image or a voxel size is still missing.
        """
        for role in Role:
            if role not in self.images:
                raise InputError(f"Choose the {DEFAULT_NAMES[role]} image first.")
        if self.missing_voxel_sizes:
            names = ", ".join(DEFAULT_NAMES[role] for role in self.missing_voxel_sizes)
            raise InputError(f"Type the voxel size of {names} in µm; the file does not say it.")
        return tuple(self.images[role].to_source(role) for role in Role)
