"""Where the images of datasets are, and that they still are the ones that were added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.volumes import Volume, inspect_image, open_volume
from napari_neurobridge.project.manifest import locate

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.project.manifest import DatasetSpec


def locate_image(spec: DatasetSpec, folder: Path) -> Path:
    """Return where a dataset's image is now.

    Parameters
    ----------
    spec : DatasetSpec
    folder : Path
        Of the project.

    Raises
    ------
    InputError
        If the dataset has only points, or its image has been moved.
    """
    if spec.uri is None:
        raise InputError(f"Dataset '{spec.name}' has only points and no image to read.")
    path = locate(spec.uri, folder)
    if not path.exists():
        raise InputError(
            f"The image of dataset '{spec.name}' is no longer at {path}; move it back there, or "
            f"correct its uri in {folder / 'project.toml'}."
        )
    return path


def open_image(spec: DatasetSpec, folder: Path) -> Volume:
    """Open the image of a dataset, lazily.

    Raises
    ------
    InputError
        If it is missing, cannot be read, or is another than the one that was added.
    """
    path = locate_image(spec, folder)
    info = inspect_image(path, axes=spec.axes)
    if spec.fingerprint is not None and info.fingerprint != spec.fingerprint:
        raise InputError(
            f"The image of dataset '{spec.name}' at {path} has changed since it was added, so "
            "positions and verdicts may not fit it; restore the original file, or add the new "
            "one as another dataset."
        )
    return open_volume(
        path,
        name=spec.name,
        axes=spec.axes,
        voxel_size_um=spec.voxel_size_um,
        channel=spec.channel,
        projection=spec.projection,
    )
