"""Embeddings on disk, in numbered shards that a killed run leaves whole.

``embeddings/<weights>-<what a crop shows>/<dataset>/`` holds ``shard-00000.npy``, float32
embeddings of shape (n, dim), and ``shard-00000.npz`` beside it, which names their somata.
The second file is written last and makes the shard count, so that a run that is killed
continues with what is missing; it holds the checksum of the first. Shards are never changed: a
soma that has moved gets a row in a later shard, and rows of somata that have moved or gone are
skipped on reading. A damaged shard is left out as a whole, and deleted by the next index.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_neurobridge.io.crops import CropSpec
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.parser_race import despite_parser_race
from napari_neurobridge.project.crops import orientation_frame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.spaces.crop_frame import CropFrame
    from napari_neurobridge.types import Float32Array, Soma


_NORM_ERROR = 0.01


class Embedder(Protocol):
    """Whose embeddings an index holds; an encoder, or what is known of one without loading it."""

    @property
    def hash(self) -> str:
        """Names the weights."""

    @property
    def dim(self) -> int | None:
        """Length of the vectors; ``None`` if it is not known."""


@dataclass(frozen=True, eq=False)
class Shards:
    """What the shards of a folder hold.

    Attributes
    ----------
    embeddings : dict of uid to ndarray, shape (dim,)
        Of somata that still lie where they were embedded.
    damaged : tuple of Path
        Shards that were left out, by the files that name their somata.
    """

    embeddings: dict[str, Float32Array]
    damaged: tuple[Path, ...] = ()


def gallery_folder(
    project: Project,
    encoder: Embedder,
    dataset: str,
    spec: CropSpec | None = None,
    frame: CropFrame | None = None,
) -> Path:
    """Return where the embeddings of a dataset lie.

    The name holds the weights' hash and a digest of all that changes what a crop shows:
    the crop specification, the frame, which is that of the orientation unless given, and how
    the image is read.
    """
    source = project.dataset(dataset)
    look = {
        "crop": (spec or CropSpec()).digest(),
        **(frame or orientation_frame(project, dataset)).identity(),
        "image": source.fingerprint or source.uri,
        "voxel_size_um": source.used_voxel_size_um,
        "axes": source.axes,
        "channel": source.channel,
        "projection": source.projection,
    }
    digest = hashlib.sha256(json.dumps(look, sort_keys=True).encode()).hexdigest()[:12]
    return project.embeddings_dir / f"{encoder.hash}-{digest}" / dataset


def list_shards(folder: Path) -> tuple[Path, ...]:
    """Return the files that name the somata of complete shards, the oldest first."""
    return tuple(sorted(folder.glob("shard-*.npz")))


def write_shard(folder: Path, somata: Sequence[Soma], embeddings: Float32Array) -> None:
    """Add a shard with the (n, dim) embeddings of n somata."""
    numbers = [int(path.stem.removeprefix("shard-")) for path in list_shards(folder)]
    stem = f"shard-{max(numbers, default=-1) + 1:05d}"
    with atomic_write(folder / f"{stem}.npy") as temporary:
        np.save(temporary, embeddings, allow_pickle=False)
        checksum = hashlib.sha256(temporary.read_bytes()).hexdigest()
    with atomic_write(folder / f"{stem}.npz") as temporary:
        np.savez(
            temporary,
            uids=np.array([soma.uid for soma in somata]),
            centers_um=np.array([soma.center_um for soma in somata], dtype=np.float64),
            sha256=np.array(checksum),
        )


def read_shards(folder: Path, somata: Mapping[str, Soma], dim: int | None = None) -> Shards:
    """Return the embeddings of somata that still lie where they were embedded.

    Parameters
    ----------
    folder : Path
    somata : mapping of uid to Soma
        Those that live.
    dim : int, optional
        Length of the vectors; those of another length are damaged.

    Returns
    -------
    Shards
        Without the rows of damaged shards, as if they had never been written.
    """
    found: dict[str, Float32Array] = {}
    damaged = []
    for names in list_shards(folder):
        rows = _read_shard(names, dim)
        if rows is None:
            damaged.append(names)
            continue
        for uid, center, embedding in zip(*rows, strict=True):
            soma = somata.get(uid)
            if soma is not None and soma.center_um == tuple(center):
                found[uid] = embedding
    return Shards(found, tuple(damaged))


def delete_shards(damaged: Sequence[Path]) -> None:
    """Delete shards, by the files that name their somata."""
    for names in damaged:
        names.unlink(missing_ok=True)
        names.with_suffix(".npy").unlink(missing_ok=True)


@despite_parser_race
def _read_shard(
    names: Path, dim: int | None
) -> tuple[list[str], list[list[float]], Float32Array] | None:
    """Return uids, centres (n, 3) and embeddings (n, dim) of a shard; None if it is damaged."""
    try:
        with names.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            uids, centers_um = arrays["uids"], arrays["centers_um"]
            checksum = str(arrays["sha256"]) if "sha256" in arrays else None
        content = names.with_suffix(".npy").read_bytes()
        embeddings = np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None
    if checksum is not None and hashlib.sha256(content).hexdigest() != checksum:
        return None
    if centers_um.shape != (len(uids), 3) or embeddings.dtype != np.float32:
        return None
    if embeddings.ndim != 2 or len(embeddings) != len(uids):
        return None
    if dim not in (None, embeddings.shape[1]) or not np.isfinite(embeddings).all():
        return None
    if checksum is None and not _are_unit_vectors(embeddings):
        return None
    return uids.tolist(), centers_um.tolist(), embeddings


def _are_unit_vectors(embeddings: Float32Array) -> bool:
    """Return whether all rows are of norm one, as those of an encoder are, or zero.

    Shards from before there were checksums have nothing else to go by.
    """
    norms = np.linalg.norm(embeddings, axis=1)
    return bool(((np.abs(norms - 1) <= _NORM_ERROR) | (norms == 0)).all())
