"""The few somata that are listed for a query, compared in crops held as the alignment says.

The index holds all somata as the orientation says, which was stated before anything was
aligned. Once an alignment exists, both cells of a pair can be shown in the same pose; to cut
and embed the whole gallery again after each accepted pair would take minutes, its shortlist
takes less than a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from napari_neurobridge.matching.appearance.gallery import embed_positions, load_gallery
from napari_neurobridge.matching.appearance.shards import gallery_folder
from napari_neurobridge.project.crops import aligned_frame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.io.crops import CropSpec
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Float32Array, Vec3

# Somata whose embeddings are kept until an alignment changes: about 12 MB.
_MOST_KEPT = 4096
_KEPT: WeakKeyDictionary[Project, dict[tuple[Path, Vec3], Float32Array]] = WeakKeyDictionary()


def shortlist_embeddings(
    project: Project,
    encoder: Encoder,
    dataset: str,
    uids: Sequence[str],
    other: str,
    *,
    spec: CropSpec | None = None,
) -> dict[str, Float32Array]:
    """Embed indexed somata in crops held to show what those of another dataset do.

    Parameters
    ----------
    project : Project
    encoder : Encoder
    dataset : str
        Where the somata lie.
    uids : sequence of str
        A few: those whose frame departs from the index's are cut anew.
    other : str
        What they are compared with.
    spec : CropSpec, optional
        The default crop unless given.

    Returns
    -------
    dict of uid to ndarray, shape (dim,)
        Somata that are not indexed are absent.
    """
    gallery = load_gallery(project, encoder, dataset, spec=spec)
    rows = {uid: row for uid in uids if (row := gallery.row(uid)) is not None}
    found: dict[str, Float32Array] = {uid: gallery.embeddings[row] for uid, row in rows.items()}
    frame = aligned_frame(project, dataset, other)
    if frame.alignment is None or not rows:
        return found
    centers = gallery.centers_um[list(rows.values())]
    places = dict(zip(rows, map(_vec3, centers), strict=True))
    departing = [uid for uid, does in zip(rows, frame.departs(centers), strict=True) if does]
    folder = gallery_folder(project, encoder, dataset, spec, frame)
    kept = _KEPT.setdefault(project, {})
    found.update(
        {uid: kept[folder, places[uid]] for uid in departing if (folder, places[uid]) in kept}
    )
    wanted = [uid for uid in departing if (folder, places[uid]) not in kept]
    if wanted:
        cut = embed_positions(
            project, encoder, dataset, [places[uid] for uid in wanted], frame=frame, spec=spec
        )
        found.update(zip(wanted, cut, strict=True))
        # Those of another alignment are of no more use.
        for key in [key for key in kept if key[0] != folder or len(kept) > _MOST_KEPT]:
            kept.pop(key, None)
        kept.update({(folder, places[uid]): found[uid] for uid in wanted})
    return found


def query_embedding(
    project: Project,
    encoder: Encoder,
    dataset: str,
    center_um: Vec3,
    uid: str | None,
    *,
    other: str | None = None,
    spec: CropSpec | None = None,
) -> Float32Array:
    """Embed one place, from the index when it holds it as wanted.

    Parameters
    ----------
    dataset : str
        Where the place is.
    center_um : Vec3
    uid : str or None
        The soma there; ``None`` for a bare place.
    other : str, optional
        What it is compared with by `shortlist_embeddings`; an index of orientations unless
        given.
    spec : CropSpec, optional
        The default crop unless given.

    Returns
    -------
    ndarray, shape (dim,)
    """
    known = load_gallery(project, encoder, dataset, spec=spec)
    row = None if uid is None else known.row(uid)
    indexed = row is not None and _vec3(known.centers_um[row]) == center_um
    if indexed and uid is not None and other is not None:
        return shortlist_embeddings(project, encoder, dataset, [uid], other, spec=spec)[uid]
    if indexed:
        embedding: Float32Array = known.embeddings[row]
        return embedding
    frame = None if other is None else aligned_frame(project, dataset, other)
    embedding = embed_positions(project, encoder, dataset, [center_um], frame=frame, spec=spec)[0]
    return embedding


def _vec3(row: Sequence[float]) -> Vec3:
    z, y, x = map(float, row)
    return (z, y, x)
