"""Components of CaImAn: the sparse matrix ``A`` of its HDF5 file, or one saved by SciPy as npz."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.parser_race import despite_parser_race
from napari_neurobridge.io.rois import hdf5
from napari_neurobridge.io.rois.roi_set import MOST_BYTES, RoiSet, check_size, numbered, roi_of_mask

if TYPE_CHECKING:
    from pathlib import Path

    import h5py
    import numpy.typing as npt

SHARE_OF_PEAK = 0.2
"""A pixel belongs to a component that is at least this share of its peak there."""

_PARTS = ("data", "indices", "indptr", "shape")


def read_caiman(
    path: Path, *, every: bool = False, image_shape: tuple[int, int] | None = None
) -> RoiSet:
    """Read the spatial components of one plane; uids and indices count them from 0.

    The centre is that of the component's light, as CaImAn's own; the mask is where the
    component has a fifth of its peak.

    Parameters
    ----------
    path : Path
        HDF5 as ``cnm.save`` writes it, or npz of ``scipy.sparse.save_npz``.
    every : bool
        Also components that CaImAn's evaluation has put aside.
    image_shape : (int, int), optional
        (y, x), where the file does not say it.

    Raises
    ------
    InputError
        If it cannot be read, is not of CaImAn, or the shape of its image is not known.
    """
    check_size(path)
    if path.suffix.lower() == ".npz":
        parts, shape, kept = _read_npz(path), None, None
    else:
        with hdf5.opened(path) as file:
            parts, shape, kept = _read_hdf5(file, path)
    components = _as_matrix(parts, path)
    shape = shape or image_shape
    n_pixels, n_components = components.shape
    if shape is None:
        raise InputError(f"{path} does not say the shape of its image, nor does the dataset.")
    if shape[0] * shape[1] != n_pixels:
        raise InputError(
            f"The components of {path} have {n_pixels} pixels, and an image of {shape[0]} × "
            f"{shape[1]} has {shape[0] * shape[1]}."
        )
    rows = list(range(n_components)) if every or kept is None else kept
    if rows and not 0 <= min(rows) <= max(rows) < n_components:
        raise InputError(f"{path} keeps components that it does not have.")
    rois = []
    for uid, row in zip(numbered("cnmf", rows), rows, strict=True):
        span = slice(components.indptr[row], components.indptr[row + 1])
        place, light = components.indices[span], components.data[span]
        strong = light >= SHARE_OF_PEAK * light.max(initial=np.inf if not len(light) else 0.0)
        # CaImAn numbers pixels down the columns.
        pixels = np.column_stack(np.unravel_index(place[strong], shape, order="F"))
        rois.append(roi_of_mask(uid, pixels, light[strong], path=path, index=row))
    return RoiSet(
        format="CaImAn",
        path=path,
        rois=rois,
        n_in_file=n_components,
        kept_by="all" if every or kept is None else "idx_components",
        index_base=0,
        shape=shape,
    )


def _read_hdf5(
    file: h5py.File, path: Path
) -> tuple[dict[str, Any], tuple[int, int] | None, list[int] | None]:
    """Return the parts of A, the image's (y, x), and the indices of components that are kept."""
    group = file.get("estimates/A")
    if group is None:
        raise InputError(f"{path} holds no components (estimates/A) of CaImAn.")
    parts = {name: hdf5.values_of(group, name) for name in _PARTS}
    shape = None
    for name in ("estimates/dims", "dims", "params/data/dims"):
        found = hdf5.values_of(file, name)
        if found is not None and found.dtype.kind in "iu" and found.ndim == 1:
            shape = [int(n) for n in found]
            break
    if shape is not None and len(shape) != 2:
        raise InputError(f"{path} holds components of a volume; import a label image of them.")
    kept = hdf5.values_of(file, "estimates/idx_components")
    # Text says that there are none; an empty list has no type.
    numbers = kept is not None and kept.ndim == 1 and (kept.dtype.kind in "iu" or not kept.size)
    return (
        parts,
        None if shape is None else (shape[0], shape[1]),
        [int(n) for n in kept] if kept is not None and numbers else None,
    )


@despite_parser_race
def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > MOST_BYTES:
                raise InputError(f"{path} unpacks to more than any set of ROIs.")
        with np.load(path, allow_pickle=False) as stored:
            if "format" in stored and bytes(stored["format"].item()) not in (b"csc", b"csr"):
                raise InputError(f"{path} holds a sparse matrix that is neither csc nor csr.")
            parts: dict[str, Any] = {name: stored[name] for name in _PARTS if name in stored}
            parts["by_row"] = "format" in stored and bytes(stored["format"].item()) == b"csr"
            return parts
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, TypeError, EOFError) as error:
        raise InputError(f"{path} is no sparse matrix of SciPy, or is damaged.") from error


def _as_matrix(parts: dict[str, Any], path: Path) -> sparse.csc_matrix[np.float64]:
    kind = sparse.csr_matrix if parts.pop("by_row", False) else sparse.csc_matrix
    try:
        rows, columns = (int(n) for n in parts["shape"])
        data = np.asarray(parts["data"], dtype=np.float64)
        matrix = kind((data, parts["indices"], parts["indptr"]), shape=(rows, columns))
        matrix.check_format(full_check=True)
    except (KeyError, TypeError, ValueError, IndexError, MemoryError) as error:
        raise InputError(f"{path} holds no whole matrix of components.") from error
    return _clean(matrix.tocsc(), path)


def _clean(matrix: Any, path: Path) -> sparse.csc_matrix[np.float64]:
    data: npt.NDArray[np.float64] = matrix.data
    if not np.isfinite(data).all():
        raise InputError(f"{path} holds components that are no numbers.")
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    found: sparse.csc_matrix[np.float64] = matrix
    return found
