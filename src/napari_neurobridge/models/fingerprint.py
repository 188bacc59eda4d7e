"""What a model makes of its training data, so that other data can be compared without it.

``fingerprint.npz`` of a model folder holds, for each side that the model sees (an encoder's are
``two_photon`` and ``fmost``), a sample of features, their moments, and the bandwidth of the kernel
that compares them with other features of the same model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.distance import pdist

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from napari_neurobridge.models.model_folder import ModelFolder
    from napari_neurobridge.types import FloatArray

_MEDIAN_ROWS = 1000
_MEAN, _COVARIANCE, _BANDWIDTH = _SUFFIXES = ("_mean", "_cov", "_bandwidth")


@dataclass(frozen=True, eq=False)
class FeatureSample:
    """Features of a part of what a model was trained on.

    Attributes
    ----------
    features : ndarray, shape (N, F)
        Rows of unit length.
    bandwidth : float
        Standard deviation of the kernel's middle Gaussian, in units of such rows: the median
        distance of two of them.
    """

    features: npt.NDArray[np.float64]
    bandwidth: float


def unit_rows(features: FloatArray) -> npt.NDArray[np.float64]:
    """Return features (N, F) with each row brought to length one; zeros stay."""
    rows = np.asarray(features, dtype=np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1.0))


def median_distance(*features: FloatArray) -> float:
    """Return the median distance between rows of all sets (N, F): the usual bandwidth."""
    rows = np.concatenate([f[:: max(1, len(f) * len(features) // _MEDIAN_ROWS)] for f in features])
    return float(np.median(pdist(rows)))


def fingerprint_arrays(sides: Mapping[str, FloatArray]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays to write with `ModelFolder.write_fingerprint`.

    Parameters
    ----------
    sides : mapping of str to ndarray, shape (N, F)
        Features of a sample of the training data, as the model's trunk gives them.

    Returns
    -------
    dict of str to ndarray
        For each side its features as float16 (N, F); ``<side>_mean`` (F,) and ``<side>_cov``
        (F, F), float32; and ``<side>_bandwidth`` (), that of `FeatureSample`.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    for side, features in sides.items():
        stored = features.astype(np.float16)
        arrays[side] = stored
        arrays[side + _MEAN] = features.mean(axis=0).astype(np.float32)
        arrays[side + _COVARIANCE] = np.cov(features, rowvar=False).astype(np.float32)
        arrays[side + _BANDWIDTH] = np.array(median_distance(unit_rows(stored)))
    return arrays


def read_fingerprint(folder: ModelFolder) -> dict[str, FeatureSample]:
    """Return the sample of each side; empty where the folder holds none.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    arrays = folder.fingerprint()
    sides = [name for name in arrays if not name.endswith(_SUFFIXES)]
    return {side: _sample(folder, side, arrays) for side in sides}


def _sample(
    folder: ModelFolder, side: str, arrays: Mapping[str, npt.NDArray[Any]]
) -> FeatureSample:
    damaged = InputError(f"The fingerprint of the model {folder.path} is damaged.")
    features, stored = arrays[side], arrays.get(side + _BANDWIDTH)
    if features.ndim != 2 or len(features) < 2 or features.dtype.kind != "f":
        raise damaged
    if stored is not None and (stored.shape != () or stored.dtype.kind != "f"):
        raise damaged
    rows = unit_rows(features)
    # Fingerprints from before there were bandwidths hold the sample that they follow from.
    bandwidth = median_distance(rows) if stored is None else float(stored)
    if not (np.isfinite(rows).all() and np.isfinite(bandwidth) and bandwidth > 0):
        raise damaged
    return FeatureSample(rows, bandwidth)
