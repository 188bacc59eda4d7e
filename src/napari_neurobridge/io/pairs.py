"""Pairs of crops of the same cells as one file: what models train on and are tested with."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.parser_race import despite_parser_race

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.types import Float32Array, FloatArray


@dataclass(frozen=True, eq=False)
class PairSet:
    """Crops of the same cells from both sides.

    Attributes
    ----------
    two_photon, fmost : ndarray of float32, shape (N, 150, 150)
        Normalised crops; row i of both shows the same cell.
    scene : ndarray of int64, shape (N,)
        Block of tissue that each pair comes from.
    center_um : ndarray of float64, shape (N, 3), optional
        Where the cells lie in the oriented fMOST frame, (z, y, x); known of simulated
        pairs.
    """

    two_photon: Float32Array
    fmost: Float32Array
    scene: npt.NDArray[np.int64]
    center_um: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.scene)

    def take(self, chosen: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> PairSet:
        """Return some of the pairs, by index or mask."""
        return PairSet(
            self.two_photon[chosen],
            self.fmost[chosen],
            self.scene[chosen],
            None if self.center_um is None else self.center_um[chosen],
        )

    @classmethod
    def joined(cls, parts: Sequence[PairSet]) -> PairSet:
        """Return the pairs of several sets, whose scenes are numbered on.

        Positions are kept if all parts have them.
        """
        scene, n_scenes = [], 0
        for part in parts:
            names, place = np.unique(part.scene, return_inverse=True)
            scene.append(place.astype(np.int64) + n_scenes)
            n_scenes += len(names)
        centers = [part.center_um for part in parts if part.center_um is not None]
        return cls(
            np.concatenate([part.two_photon for part in parts]),
            np.concatenate([part.fmost for part in parts]),
            np.concatenate(scene),
            np.concatenate(centers) if len(centers) == len(parts) else None,
        )

    def save(self, path: str | Path) -> None:
        """Write a compressed npz of ``two_photon``, ``fmost`` (8 bits a pixel) and ``scene``.

        ``center_um`` is in it too, if it is known.
        """
        known: dict[str, Any] = {} if self.center_um is None else {"center_um": self.center_um}
        with atomic_write(Path(path)) as temporary, temporary.open("wb") as handle:
            np.savez_compressed(
                handle,
                two_photon=as_bytes(self.two_photon),
                fmost=as_bytes(self.fmost),
                scene=self.scene,
                **known,
            )

    @classmethod
    @despite_parser_race
    def load(cls, path: str | Path) -> PairSet:
        """Read what `save` wrote, or any npz with ``two_photon``, ``fmost`` and ``scene``.

        Raises
        ------
        InputError
            If the file is missing, is no npz, or lacks or mis-shapes an array.
        """
        try:
            # Opened as a zip first: of other files np.load makes an array, or says to unpickle.
            with ZipFile(path), np.load(path, allow_pickle=False) as arrays:
                two_photon, fmost, scene = (arrays[k] for k in ("two_photon", "fmost", "scene"))
                center_um = arrays.get("center_um")
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
        if center_um is not None and center_um.shape != (len(scene), 3):
            raise InputError(
                f"{path} holds center_um of shape {center_um.shape}; it must give (z, y, x) of "
                f"each pair, shape ({len(scene)}, 3)."
            )
        centers = None if center_um is None else center_um.astype(np.float64)
        return cls(_as_float(two_photon), _as_float(fmost), scene.astype(np.int64), centers)


def as_bytes(crops: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Store crops in [0, 1] in one byte per pixel; only what is 0 stays 0, see `io.crops`."""
    values = np.clip(crops, 0, 1)
    levels: npt.NDArray[np.uint8] = np.maximum(np.round(values * 255), values > 0).astype(np.uint8)
    return levels


def _as_float(crops: npt.NDArray[np.generic]) -> Float32Array:
    floats = crops.astype(np.float32)
    return floats / np.float32(255) if crops.dtype == np.uint8 else floats
