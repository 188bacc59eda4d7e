"""Sizes and outlines of imported regions as one compressed file, named by its content."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.parser_race import despite_parser_race
from napari_neurobridge.io.rois.roi_set import MOST_BYTES, check_size

if TYPE_CHECKING:
    from pathlib import Path

_SUFFIX = ".npz"
_NAME_LENGTH = 16  # hex digits of the content's hash, as in the project's log


@dataclass(frozen=True, eq=False)
class Outlines:
    """Regions of one import.

    Attributes
    ----------
    uids : list of str, length N
        Of the somata that they became.
    centers_um : ndarray, shape (N, 3)
        µm (z, y, x); a soma that was moved since lies elsewhere.
    sizes : ndarray, shape (N,)
        µm², or µm³ of regions that extend over several planes; 0 for points.
    solid : bool
        Whether sizes are volumes.
    outlines_um : list of ndarray, length N, each of shape (V, 3)
        Closed polygons, µm (z, y, x); empty for points.
    """

    uids: list[str]
    centers_um: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.float64]
    solid: bool
    outlines_um: list[npt.NDArray[np.float32]]

    def save(self, folder: Path) -> str:
        """Write them into a folder, and return the file's name without its suffix.

        The name is made of the content, so the same regions are stored once.
        """
        vertices = [outline.astype(np.float32) for outline in self.outlines_um]
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            uids=np.array(self.uids, dtype=np.str_),
            centers_um=self.centers_um,
            sizes=self.sizes,
            solid=np.array(self.solid),
            ends=np.cumsum([len(outline) for outline in vertices], dtype=np.int64),
            vertices_um=np.concatenate([np.zeros((0, 3), dtype=np.float32), *vertices]),
        )
        name = _name_of(stream.getvalue())
        path = folder / f"{name}{_SUFFIX}"
        if not path.exists():
            with atomic_write(path) as temporary:
                temporary.write_bytes(stream.getvalue())
        return name

    @classmethod
    @despite_parser_race
    def load(cls, folder: Path, name: str) -> Outlines:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If the file is missing or is not what was written.
        """
        path = folder / f"{name}{_SUFFIX}"
        if not path.is_file():
            raise InputError(f"The outlines {path} are missing; restore them from a backup.")
        check_size(path)
        content = path.read_bytes()
        try:
            if _name_of(content) != name:
                raise ValueError("another content than its name says")
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                if sum(info.file_size for info in archive.infolist()) > MOST_BYTES:
                    raise ValueError("more than any set of regions")
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                starts = stored["ends"][:-1]
                return cls(
                    stored["uids"].tolist(),
                    stored["centers_um"],
                    stored["sizes"],
                    bool(stored["solid"]),
                    np.split(stored["vertices_um"], starts),
                )
        except (ValueError, KeyError, zipfile.BadZipFile, zlib.error, OSError) as error:
            raise InputError(f"The outlines {path} are damaged ({error}).") from error


def copy_outlines(source: Path, target: Path) -> None:
    """Copy those outlines into another folder that it lacks; a source without any is fine."""
    for path in sorted(source.glob(f"{'[0-9a-f]' * _NAME_LENGTH}{_SUFFIX}")):
        if not (target / path.name).exists():
            with atomic_write(target / path.name) as temporary:
                temporary.write_bytes(path.read_bytes())


def _name_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_NAME_LENGTH]
