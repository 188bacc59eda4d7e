"""Embeddings of all somata of a project: made once, kept in shards."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.matching.appearance.search import Gallery, lacks_few
from napari_neurobridge.matching.appearance.shards import (
    delete_shards,
    gallery_folder,
    list_shards,
    read_shards,
    write_shard,
)
from napari_neurobridge.spaces.affine import as_points

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.io.crops import CropSpec
    from napari_neurobridge.matching.appearance.shards import Embedder, Shards
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.spaces.crop_frame import CropFrame
    from napari_neurobridge.types import Float32Array, Report, Soma, Vec3

# About ten seconds of work on two cores, which is what a kill can cost.
SHARD_SIZE = 256
# Somata close together are cropped together, since they lie in the same chunks.
_NEIGHBOURHOOD_UM = 128.0


@dataclass(frozen=True)
class IndexResult:
    """What one run of `index_project` did.

    Attributes
    ----------
    n_embedded : int
        Somata embedded by this run.
    n_indexed : dict of str to int
        Somata in the index of each dataset afterwards.
    model : str
        Name and hash of the encoder.
    seconds : float
        Wall time.
    n_damaged : int
        Damaged shards that were deleted; their somata are among those embedded.
    """

    n_embedded: int
    n_indexed: dict[str, int]
    model: str
    seconds: float
    n_damaged: int = 0


@dataclass(frozen=True)
class IndexCount:
    """How much of a project is indexed, over all datasets with images.

    Attributes
    ----------
    n_embedded, n_somata : int
        Living somata that are indexed, and all of them.
    n_damaged : int
        Shards that were left out.
    """

    n_embedded: int
    n_somata: int
    n_damaged: int = 0

    @property
    def n_missing(self) -> int:
        """Living somata that are not indexed."""
        return self.n_somata - self.n_embedded

    @property
    def usable(self) -> bool:
        """Whether one can rank with it: it lacks a few somata at most."""
        return lacks_few(self.n_embedded, self.n_somata)


def model_label(encoder: Encoder) -> str:
    """Return the name and hash under which rankings and verdicts cite an encoder."""
    return f"{encoder.name}@{encoder.hash}"


def load_gallery(
    project: Project, encoder: Embedder, dataset: str, *, spec: CropSpec | None = None
) -> Gallery:
    """Return what is indexed of a dataset, from memory while nothing has changed.

    Parameters
    ----------
    project : Project
    encoder : Encoder
        Whose embeddings to load.
    dataset : str
    spec : CropSpec, optional
        The default crop unless given.

    Returns
    -------
    Gallery
        It may be empty or incomplete; see `Gallery.require_most`.

    Raises
    ------
    InputError
        If the dataset is unknown.
    """
    folder = gallery_folder(project, encoder, dataset, spec)
    somata = project.state().somata.get(dataset, {})
    shards = tuple((path, _time(path)) for path in list_shards(folder))
    kept = _LOADED.setdefault(project, {}).setdefault(dataset, {})
    loaded = kept.pop(folder, None)
    if loaded is None or loaded.shards != shards or loaded.somata != somata:
        found = read_shards(folder, somata, encoder.dim)
        loaded = _Loaded(shards, somata, _gallery(found, dataset, somata))
    # The latest last; those of earlier models or orientations are let go.
    kept[folder] = loaded
    for old in list(kept)[:-_GALLERIES_KEPT]:
        del kept[old]
    return loaded.gallery


def count_embedded(
    project: Project,
    encoder: Embedder,
    *,
    datasets: Sequence[str] | None = None,
    spec: CropSpec | None = None,
) -> IndexCount:
    """Return how many somata of some datasets are indexed; of all with images unless given."""
    names = project.datasets_with_images if datasets is None else datasets
    galleries = [load_gallery(project, encoder, name, spec=spec) for name in names]
    return IndexCount(
        sum(map(len, galleries)),
        sum(gallery.n_living for gallery in galleries),
        sum(gallery.n_damaged for gallery in galleries),
    )


def embed_positions(
    project: Project,
    encoder: Encoder,
    dataset: str,
    centers_um: npt.ArrayLike,
    *,
    frame: CropFrame | None = None,
    spec: CropSpec | None = None,
    report: Report | None = None,
) -> Float32Array:
    """Crop at positions of a dataset, exactly there, and embed the crops.

    Parameters
    ----------
    centers_um : array_like, shape (N, 3)
        In the dataset's own space, (z, y, x).
    frame : CropFrame, optional
        How the crops are held; as in the index unless given.
    report : callable, optional
        Called as ``report(done, total, message)``.

    Returns
    -------
    ndarray of float32, shape (N, dim)
        Unit vectors.

    Raises
    ------
    InputError
        If the dataset has no image to crop from.
    """
    tell = report or _silent
    centers = as_points(centers_um)
    message = f"embedding {dataset}"
    crops = project.crops(
        dataset,
        centers,
        frame,
        spec=spec,
        report=lambda done, total, _: tell(0, len(centers), message),
    )
    return encoder.embed(crops, report=lambda done, total, _: tell(done, total, message))


def index_project(
    project: Project,
    encoder: Encoder,
    *,
    spec: CropSpec | None = None,
    datasets: Sequence[str] | None = None,
    report: Report | None = None,
) -> IndexResult:
    """Embed all living somata that are not in the index yet.

    Parameters
    ----------
    project : Project
        Its lock is held meanwhile.
    encoder : Encoder
    spec : CropSpec, optional
        The default crop unless given.
    datasets : sequence of str, optional
        Only these; by default all that have an image.
    report : callable, optional
        Called as ``report(done, total, message)``, with somata as steps. When it raises,
        the finished shards are kept.

    Returns
    -------
    IndexResult

    Raises
    ------
    InputError
        If a dataset is unknown or has no image, there are no somata at all, or another
        job holds the project.
    """
    tell = report or _silent
    started = time.monotonic()
    names = project.datasets_with_images if datasets is None else list(datasets)
    if not names:
        raise InputError("No dataset of this project has an image, so nothing can be embedded.")
    with project.lock():
        n_damaged = sum(_delete_damaged(project, encoder, name, spec) for name in names)
        missing = {name: _missing_somata(project, encoder, name, spec) for name in names}
        total, done = sum(map(len, missing.values())), 0
        for name, somata in missing.items():
            folder = gallery_folder(project, encoder, name, spec)
            for shard in _split(somata, SHARD_SIZE):
                embeddings = embed_positions(
                    project,
                    encoder,
                    name,
                    [soma.center_um for soma in shard],
                    spec=spec,
                    report=_shifted(tell, done, total),
                )
                write_shard(folder, shard, embeddings)
                done += len(shard)
                tell(done, total, f"embedding {name}")
    counts = {name: len(load_gallery(project, encoder, name, spec=spec)) for name in names}
    if not any(counts.values()):
        raise InputError("There are no somata to index.", kind=ErrorKind.NO_SOMATA)
    seconds = time.monotonic() - started
    return IndexResult(done, counts, model_label(encoder), seconds, n_damaged)


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A gallery in memory, and what it was made from: shards with their times, and somata."""

    shards: tuple[tuple[Path, int], ...]
    somata: Mapping[str, Soma]
    gallery: Gallery = field(repr=False)


# Of a dataset: that of the model in use, and that of an older one while the former is made.
_GALLERIES_KEPT = 2
_LOADED: WeakKeyDictionary[Project, dict[str, dict[Path, _Loaded]]] = WeakKeyDictionary()


def _silent(done: int, total: int, message: str) -> None:
    """Report to nobody."""


def _shifted(report: Report, offset: int, total: int) -> Report:
    """Return a report that counts a part's steps within the whole."""
    return lambda done, _, message: report(offset + done, total, message)


def _split(somata: Sequence[Soma], size: int) -> Iterator[Sequence[Soma]]:
    for start in range(0, len(somata), size):
        yield somata[start : start + size]


def _missing_somata(
    project: Project, encoder: Encoder, dataset: str, spec: CropSpec | None
) -> list[Soma]:
    gallery = load_gallery(project, encoder, dataset, spec=spec)
    indexed = set(gallery.uids)
    somata = project.state().somata.get(dataset, {})
    missing = [soma for uid, soma in somata.items() if uid not in indexed]

    def place(soma: Soma) -> tuple[list[float], Vec3]:
        block = np.floor(np.asarray(soma.center_um) / _NEIGHBOURHOOD_UM)
        return block.tolist(), soma.center_um

    return sorted(missing, key=place)


def _delete_damaged(project: Project, encoder: Encoder, dataset: str, spec: CropSpec | None) -> int:
    """Delete the damaged shards of a dataset, and return how many there were."""
    if not load_gallery(project, encoder, dataset, spec=spec).n_damaged:
        return 0
    folder = gallery_folder(project, encoder, dataset, spec)
    damaged = read_shards(folder, {}, encoder.dim).damaged
    delete_shards(damaged)
    return len(damaged)


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # deleted by an index in another process
        return 0


def _gallery(found: Shards, dataset: str, somata: Mapping[str, Soma]) -> Gallery:
    uids = tuple(sorted(found.embeddings))
    return Gallery(
        dataset=dataset,
        uids=uids,
        centers_um=np.array([somata[uid].center_um for uid in uids]).reshape(-1, 3),
        embeddings=np.array([found.embeddings[uid] for uid in uids], dtype=np.float32),
        n_living=len(somata),
        n_damaged=len(found.damaged),
    )
