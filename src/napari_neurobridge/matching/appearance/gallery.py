"""Embeddings of all somata of a project: made once, then searched exactly."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import CropSpec, extract_crops
from napari_neurobridge.matching.appearance.shards import (
    gallery_folder,
    list_shards,
    read_shards,
    write_shard,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Float32Array, Report, Soma, Vec3

# About ten seconds of work on two cores, which is what a kill can cost.
SHARD_SIZE = 256
# Somata close together are cropped together, since they lie in the same chunks.
_NEIGHBOURHOOD_UM = 128.0

# For readers of a shell and of a dock alike.
_NOT_INDEXED = (
    "not indexed for this model; run 'neurobridge index' or press Index in the Data dock."
)
_HOW_TO_FIND_SOMATA = (
    "run 'neurobridge detect', press Detect somata in the Data dock, or import points first."
)


@dataclass(frozen=True, eq=False)
class Gallery:
    """The indexed living somata of one dataset, ordered by uid.

    Attributes
    ----------
    dataset : str
        Where the somata lie.
    uids : tuple of str, length N
    centers_um : ndarray of float64, shape (N, 3)
        In the dataset's own space, (z, y, x).
    embeddings : ndarray of float32, shape (N, dim)
        Unit vectors.
    n_living : int
        Somata that the dataset has; more than N while the index is incomplete.
    """

    dataset: str
    uids: tuple[str, ...]
    centers_um: npt.NDArray[np.float64]
    embeddings: Float32Array
    n_living: int

    def __len__(self) -> int:
        return len(self.uids)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {uid: row for row, uid in enumerate(self.uids)}

    def row(self, uid: str) -> int | None:
        """Return the row of a soma; ``None`` when it is not indexed."""
        return self._rows.get(uid)

    def search(
        self, query: Float32Array, k: int
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """Return the rows most similar to a query, and their cosine similarities.

        Parameters
        ----------
        query : ndarray, shape (dim,)
            Unit vector.
        k : int
            How many; all somata when there are fewer.

        Returns
        -------
        rows, similarities : ndarray, shape (min(k, N),)
            Best first; equal similarities in the order of the uids.

        Raises
        ------
        InputError
            If ``k`` is not positive, nothing is in the gallery, or its vectors are of another
            length.
        """
        if k < 1:
            raise InputError(f"Ask for at least one candidate, not {k}.")
        if not len(self):
            raise InputError(f"The somata of '{self.dataset}' are {_NOT_INDEXED}")
        similarities = self._compare(query)
        k = min(k, len(self))
        worst = np.partition(similarities, -k)[-k]
        shortlist = np.flatnonzero(similarities >= worst)
        best = shortlist[np.lexsort((shortlist, -similarities[shortlist]))[:k]]
        return best, similarities[best]

    def locate(self, query: Float32Array, uid: str) -> tuple[int, int, float]:
        """Return the row of one soma, its rank for a query, and its cosine similarity.

        Parameters
        ----------
        query : ndarray, shape (dim,)
            Unit vector.
        uid : str

        Returns
        -------
        row, rank : int
            The place, from 1, at which `search` would return it.
        similarity : float

        Raises
        ------
        InputError
            If the soma is not in the gallery, or its vectors are of another length.
        """
        row = self.row(uid)
        if row is None:
            raise InputError(f"'{uid}' of '{self.dataset}' is {_NOT_INDEXED}")
        similarities = self._compare(query)
        similarity = similarities[row]
        more_similar = np.count_nonzero(similarities > similarity)
        tied_before = np.count_nonzero(similarities[:row] == similarity)
        return row, int(more_similar + tied_before) + 1, float(similarity)

    def _compare(self, query: Float32Array) -> Float32Array:
        if query.shape != self.embeddings.shape[1:]:
            raise InputError(
                f"The index of '{self.dataset}' holds vectors of length "
                f"{self.embeddings.shape[1]}, not {len(query)} as the model makes them; delete "
                "the folder 'embeddings' of the project and index again."
            )
        return self.embeddings @ np.asarray(query, dtype=np.float32)

    def require_complete(self) -> None:
        """Raise `InputError` unless every living soma is indexed, and there is one."""
        if self.n_living == 0:
            raise InputError(f"'{self.dataset}' has no somata to rank; {_HOW_TO_FIND_SOMATA}")
        if len(self) < self.n_living:
            raise InputError(
                f"{self.n_living - len(self)} of {self.n_living} somata of '{self.dataset}' are "
                f"{_NOT_INDEXED}"
            )


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
    """

    n_embedded: int
    n_indexed: dict[str, int]
    model: str
    seconds: float


def model_label(encoder: Encoder) -> str:
    """Return the name and hash under which rankings and verdicts cite an encoder."""
    return f"{encoder.name}@{encoder.hash}"


def load_gallery(
    project: Project, encoder: Encoder, dataset: str, *, spec: CropSpec | None = None
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
        It may be empty or incomplete; see `Gallery.require_complete`.

    Raises
    ------
    InputError
        If the dataset is unknown.
    """
    folder = gallery_folder(project, encoder, dataset, spec)
    somata = project.state().somata.get(dataset, {})
    shards = list_shards(folder)
    kept = _LOADED.setdefault(project, {})
    loaded = kept.get(dataset)
    if (
        loaded is None
        or loaded.folder != folder
        or loaded.shards != shards
        or loaded.somata != somata
    ):
        # One gallery for each dataset: those of other models or orientations are let go.
        loaded = kept[dataset] = _Loaded(
            folder, shards, somata, _read_gallery(folder, dataset, somata)
        )
    return loaded.gallery


def count_embedded(
    project: Project, encoder: Encoder, *, spec: CropSpec | None = None
) -> tuple[int, int]:
    """Return how many somata are indexed, and how many there are, over all images."""
    galleries = [
        load_gallery(project, encoder, name, spec=spec) for name in project.datasets_with_images
    ]
    return sum(map(len, galleries)), sum(gallery.n_living for gallery in galleries)


def embed_positions(
    project: Project,
    encoder: Encoder,
    dataset: str,
    centers_um: npt.ArrayLike,
    *,
    spec: CropSpec | None = None,
    report: Report | None = None,
) -> Float32Array:
    """Crop at positions of a dataset, exactly there, and embed the crops.

    Parameters
    ----------
    centers_um : array_like, shape (N, 3)
        In the dataset's own space, (z, y, x).
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
    centers = np.asarray(centers_um, dtype=np.float64).reshape(-1, 3)
    source = project.dataset(dataset)
    if source.uri is None:
        raise InputError(
            f"'{dataset}' has points but no image, so its somata cannot be ranked by appearance."
        )
    message = f"embedding {dataset}"
    crops = extract_crops(
        project.volume(dataset),
        centers,
        linear=source.linear(),
        spec=spec or CropSpec(),
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
        raise InputError(f"There are no somata to index; {_HOW_TO_FIND_SOMATA}")
    return IndexResult(done, counts, model_label(encoder), time.monotonic() - started)


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A gallery in memory, and what it was made from."""

    folder: Path
    shards: tuple[Path, ...]
    somata: Mapping[str, Soma]
    gallery: Gallery = field(repr=False)


_LOADED: WeakKeyDictionary[Project, dict[str, _Loaded]] = WeakKeyDictionary()


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


def _read_gallery(folder: Path, dataset: str, somata: Mapping[str, Soma]) -> Gallery:
    found = read_shards(folder, somata)
    uids = tuple(sorted(found))
    return Gallery(
        dataset=dataset,
        uids=uids,
        centers_um=np.array([somata[uid].center_um for uid in uids]).reshape(-1, 3),
        embeddings=np.array([found[uid] for uid in uids], dtype=np.float32),
        n_living=len(somata),
    )
