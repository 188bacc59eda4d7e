"""Pairs of crops of the same cells as one file: what models train on and are tested with."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write

if TYPE_CHECKING:
    from napari_neurobridge.types import Float32Array


@dataclass(frozen=True, eq=False)
class PairSet:
    """Crops of the same cells from both sides.

    Attributes
    ----------
    two_photon, fmost : ndarray of float32, shape (N, 150, 150)
        Normalised crops; row i of both shows the same cell.
    scene : ndarray of int64, shape (N,)
        Block of tissue that each pair comes from.
    """

    two_photon: Float32Array
    fmost: Float32Array
    scene: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scene)

    def save(self, path: str | Path) -> None:
        """Write ``two_photon``, ``fmost`` (8 bits a pixel) and ``scene`` to a compressed npz."""
        with atomic_write(Path(path)) as temporary, temporary.open("wb") as handle:
            np.savez_compressed(
                handle,
                two_photon=np.round(self.two_photon * 255).astype(np.uint8),
                fmost=np.round(self.fmost * 255).astype(np.uint8),
                scene=self.scene,
            )

    @classmethod
    def load(cls, path: str | Path) -> PairSet:
        """Read what `save` wrote, or any npz with the same three arrays.

        Raises
        ------
        InputError
            If the file is missing, is no npz, or lacks or mis-shapes an array.
        """
        try:
            # Opened as a zip first: of other files np.load makes an array, or says to unpickle.
            with ZipFile(path), np.load(path, allow_pickle=False) as arrays:
                two_photon, fmost, scene = (arrays[k] for k in ("two_photon", "fmost", "scene"))
        except FileNotFoundError:
            raise InputError(f"There is no file {path}.") from None
        except KeyError as error:
            raise InputError(
                f"{path} lacks an array; pairs need two_photon, fmost and scene: {error}."
            ) from None
        except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
            raise InputError(f"{path} is not a readable npz file of pairs: {error}.") from None
        shape = two_photon.shape
        if len(shape) != 3 or fmost.shape != shape or scene.shape != shape[:1]:
            raise InputError(
                f"{path} must hold two_photon and fmost of one shape (N, H, W) and scene (N,), "
                f"not {shape}, {fmost.shape} and {scene.shape}."
            )
        return cls(_as_float(two_photon), _as_float(fmost), scene.astype(np.int64))


def _as_float(crops: npt.NDArray[np.generic]) -> Float32Array:
    floats = crops.astype(np.float32)
    return floats / np.float32(255) if crops.dtype == np.uint8 else floats
