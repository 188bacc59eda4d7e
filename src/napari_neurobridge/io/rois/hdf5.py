"""Reading HDF5 files whose sizes are not to be trusted."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.rois.roi_set import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises
    ------
    InputError
        If it is none, is damaged or not complete; also while it is being read.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged, not complete, or not of this format.") from error


def values_of(group: h5py.Group, name: str) -> npt.NDArray[Any] | None:
    """Return all values of a dataset, None where there is no dataset of this name.

    Raises
    ------
    InputError
        If they unpack to more than any set of ROIs.
    """
    found = group.get(name)
    if not isinstance(found, h5py.Dataset):
        return None
    if found.size is not None and found.size * max(found.dtype.itemsize, 1) > MOST_BYTES:
        raise InputError(f"{found.file.filename} unpacks to more than any set of ROIs.")
    return np.asarray(found[()])
