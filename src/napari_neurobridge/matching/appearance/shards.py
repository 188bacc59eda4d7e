"""Embeddings on disk, in numbered shards that a killed run leaves whole.

``embeddings/<weights>-<what a crop shows>/<dataset>/`` holds ``shard-00000.npy``, float32
embeddings of shape (n, dim), and ``shard-00000.npz`` beside it, which names their somata.
The second file is written last and makes the shard count, so that a run that is killed
continues with what is missing. Shards are never changed: a soma that has moved gets a row
in a later shard, and rows of somata that have moved or gone are skipped on reading.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.io.crops import CropSpec
from napari_neurobridge.io.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Float32Array, Soma


def gallery_folder(
    project: Project, encoder: Encoder, dataset: str, spec: CropSpec | None = None
) -> Path:
    """Return where the embeddings of a dataset lie.

    The name holds the weights' hash and a digest of all that changes what a crop shows:
    the crop specification, the orientation, and how the image is read.
    """
    source = project.dataset(dataset)
    look = {
        "crop": (spec or CropSpec()).digest(),
        "linear": np.round(source.linear(), 9).tolist(),
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
    with atomic_write(folder / f"{stem}.npz") as temporary:
        np.savez(
            temporary,
            uids=np.array([soma.uid for soma in somata]),
            centers_um=np.array([soma.center_um for soma in somata], dtype=np.float64),
        )


def read_shards(folder: Path, somata: Mapping[str, Soma]) -> dict[str, Float32Array]:
    """Return the embeddings of somata that still lie where they were embedded.

    Parameters
    ----------
    folder : Path
    somata : mapping of uid to Soma
        Those that live.

    Returns
    -------
    dict of uid to ndarray, shape (dim,)
        Rows of damaged shards are absent, as if they had never been written.
    """
    found: dict[str, Float32Array] = {}
    for names in list_shards(folder):
        try:
            with names.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
                uids, centers = arrays["uids"].tolist(), arrays["centers_um"].tolist()
            embeddings = np.load(names.with_suffix(".npy"), allow_pickle=False)
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            continue
        for uid, center, embedding in zip(uids, centers, embeddings, strict=False):
            soma = somata.get(uid)
            if soma is not None and soma.center_um == tuple(center):
                found[uid] = embedding
    return found
