"""Somata placed, moved, removed and detected, each as events in the project's log."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.log.events import default_annotator
from napari_neurobridge.project.log.soma_events import (
    DetectionRun,
    SomaAdded,
    SomaDeleted,
    SomaMoved,
)
from napari_neurobridge.spaces.affine import as_points
from napari_neurobridge.spaces.mutual_nearest import mutual_nearest
from napari_neurobridge.types import DEFAULT_NAMES, Role, Soma, SomaSource, Vec3

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.events import Event
    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.project.log.soma_events import RoiOrigin

SAME_SOMA_UM = 3.0
"""A re-detected soma at most this far from a known one is the same soma."""

_PREFIXES = {DEFAULT_NAMES[Role.IN_VIVO]: "tp", DEFAULT_NAMES[Role.EX_VIVO]: "fm"}


def add_somata(
    project: Project,
    dataset: str,
    centers_um: npt.ArrayLike,
    *,
    source: SomaSource,
    uids: Sequence[str] | None = None,
    radius_um: Sequence[float | None] | None = None,
    confidence: Sequence[float | None] | None = None,
    source_index: Sequence[int | None] | None = None,
    index_base: int | None = None,
    origin: RoiOrigin | None = None,
    annotator: str | None = None,
) -> list[Soma]:
    """Place somata in a dataset.

    Parameters
    ----------
    project : Project
        Where.
    dataset : str
        Name of the dataset.
    centers_um : array_like, shape (N, 3)
        µm (z, y, x) in the dataset's space.
    source : SomaSource
        Who places them.
    uids : sequence of str, optional
        Names that are new to the project; numbered ones are given by default.
    radius_um, confidence, source_index : sequence of length N, optional
        See `Soma`.
    index_base : int, optional
        Whether ``source_index`` counts from 0 or from 1.
    origin : RoiOrigin, optional
        Which regions of another program they were.
    annotator : str, optional
        Who adds them.

    Returns
    -------
    list of Soma
        As placed, in the order given.

    Raises
    ------
    InputError
        If the dataset is unknown, positions are not finite, or a uid was used before.
    """
    annotator = annotator or default_annotator()
    project.dataset(dataset)
    centers = _as_centers(centers_um)
    if not centers:
        return []
    placed: list[Soma] = []

    def decide(state: State) -> list[SomaAdded]:
        names = (
            _new_uids(state, dataset, len(centers), annotator)
            if uids is None
            else _checked_uids(state, uids, len(centers))
        )
        added = SomaAdded(
            dataset=dataset,
            uids=names,
            centers_um=centers,
            radius_um=_as_list(radius_um),
            confidence=_as_list(confidence),
            source_index=_as_list(source_index),
            index_base=index_base,
            source=source,
            origin=origin,
        )
        placed.extend(added.to_somata(source))
        return [added]

    project.record(annotator, decide)
    return placed


def move_soma(
    project: Project, uid: str, center_um: npt.ArrayLike, *, annotator: str | None = None
) -> list[Event]:
    """Put a living soma elsewhere, µm (z, y, x); it keeps its uid."""
    return move_somata(project, [uid], as_points(center_um), annotator=annotator)


def move_somata(
    project: Project,
    uids: Sequence[str],
    centers_um: npt.ArrayLike,
    *,
    annotator: str | None = None,
) -> list[Event]:
    """Put living somata of one dataset elsewhere, as one step of undo.

    Afterwards they count as placed by a person: detection runs leave them alone.

    Parameters
    ----------
    project : Project
        Where they live.
    uids : sequence of str, length N
        All in one dataset.
    centers_um : array_like, shape (N, 3)
        µm (z, y, x).
    annotator : str, optional
        Who moves them.

    Raises
    ------
    InputError
        If one does not live, they lie in several datasets, or a position is not finite.
    """
    centers = _as_centers(centers_um)
    if len(centers) != len(uids):
        raise InputError(f"{len(uids)} somata cannot be moved to {len(centers)} positions.")

    def decide(state: State) -> list[SomaMoved]:
        dataset = _living_dataset(state, uids)
        return [SomaMoved(dataset=dataset, uids=list(uids), centers_um=centers)]

    return project.record(annotator or default_annotator(), decide)


def delete_soma(project: Project, uid: str, *, annotator: str | None = None) -> list[Event]:
    """Remove a living soma; its uid is never given again."""
    return delete_somata(project, [uid], annotator=annotator)


def delete_somata(
    project: Project, uids: Sequence[str], *, annotator: str | None = None
) -> list[Event]:
    """Remove living somata of one dataset, as one step of undo.

    Those that a verdict names stay as tombstones.

    Raises
    ------
    InputError
        If one does not live, or they lie in several datasets.
    """
    return project.record(
        annotator or default_annotator(),
        lambda state: [SomaDeleted(dataset=_living_dataset(state, uids), uids=list(uids))],
    )


def record_detection(
    project: Project,
    dataset: str,
    centers_um: npt.ArrayLike,
    *,
    radius_um: Sequence[float | None] | npt.NDArray[np.floating] | None = None,
    confidence: Sequence[float | None] | npt.NDArray[np.floating] | None = None,
    method: str,
    params: Mapping[str, Any] | None = None,
    annotator: str | None = None,
) -> list[Event]:
    """Record what a detector found; it replaces what detectors found there before.

    A soma within 3 µm of a known one (mutually nearest) keeps its uid, also when the run that
    found it was undone. Somata that a person or a file placed stay as they are, and are not
    found a second time; within 3 µm of one that a person deleted, none comes to life.

    Parameters
    ----------
    project : Project
        Where.
    dataset : str
        The dataset that was searched.
    centers_um : array_like, shape (N, 3)
        µm (z, y, x) in the dataset's space.
    radius_um, confidence : sequence of length N, optional
        See `Soma`.
    method : str
        Name of the detector.
    params : mapping, optional
        Its parameters, as JSON values.
    annotator : str, optional
        Who ran it.

    Raises
    ------
    InputError
        If the dataset is unknown or positions are not finite.
    """
    annotator = annotator or default_annotator()
    project.dataset(dataset)
    centers = as_points(centers_um)
    radii, confidences = _as_list(radius_um), _as_list(confidence)

    def decide(state: State) -> list[DetectionRun]:
        known = _known_uids(state, dataset, centers)
        unwanted = _near(centers, _in_dataset(state.deleted, dataset))
        placed_by_hand = {
            uid
            for uid, soma in state.somata.get(dataset, {}).items()
            if soma.source is not SomaSource.DETECTED
        }
        kept = [
            row
            for row, uid in enumerate(known)
            if (not unwanted[row] if uid is None else uid not in placed_by_hand)
        ]
        fresh = iter(_new_uids(state, dataset, len(kept), annotator))
        run = DetectionRun(
            dataset=dataset,
            uids=[known[row] or next(fresh) for row in kept],
            centers_um=_as_centers(centers[kept]),
            radius_um=radii and [radii[row] for row in kept],
            confidence=confidences and [confidences[row] for row in kept],
            source_index=list(kept),
            index_base=0,
            method=method,
            params=dict(params or {}),
        )
        return [run]

    return project.record(annotator, decide)


def _known_uids(
    state: State, dataset: str, centers_um: npt.NDArray[np.float64]
) -> list[str | None]:
    """Return for each detected centre the uid of the soma that it is, if any.

    Living somata come first; what is left may bring back one that had vanished or whose
    run was undone. One that a person deleted is named, too: the fold keeps it deleted, but
    undoing the deletion brings back what was found.
    """
    known: list[str | None] = [None] * len(centers_um)
    gone = _in_dataset({**state.vanished, **state.withheld, **state.deleted}, dataset)
    for somata in (list(state.somata.get(dataset, {}).values()), gone):
        free = [row for row, uid in enumerate(known) if uid is None]
        places = np.array([soma.center_um for soma in somata])
        for row, index in mutual_nearest(centers_um[free], places, SAME_SOMA_UM):
            known[free[row]] = somata[index].uid
    return known


def _in_dataset(somata: Mapping[str, Soma], dataset: str) -> list[Soma]:
    return [soma for soma in somata.values() if soma.dataset == dataset]


def _near(centers_um: npt.NDArray[np.float64], somata: Sequence[Soma]) -> npt.NDArray[np.bool_]:
    """Return for each of N centres whether one of the somata lies within 3 µm, (N,)."""
    if not len(centers_um) or not somata:
        return np.zeros(len(centers_um), dtype=bool)
    distances, _ = cKDTree([soma.center_um for soma in somata]).query(centers_um)
    return np.atleast_1d(distances <= SAME_SOMA_UM)


def _new_uids(state: State, dataset: str, count: int, annotator: str) -> list[str]:
    """Give the next numbers, which no soma of this log ever had.

    Two copies of a project that are annotated apart would give the same numbers. Whoever
    first placed somata in the dataset owns the plain ones; others' carry letters made
    from their name, so that the copies can be merged.
    """
    prefix = _PREFIXES.get(dataset, dataset)
    owner = state.owners.get(dataset, annotator)
    return numbered_uids(prefix, state.numbers.get(prefix, 0) + 1, count, owner, annotator)


def numbered_uids(prefix: str, start: int, count: int, owner: str, annotator: str) -> list[str]:
    """Return new uids; those of anybody but the owner end in letters from the annotator's name."""
    suffix = "" if owner == annotator else f"-{_letters(annotator)}"
    return [f"{prefix}-{number:05d}{suffix}" for number in range(start, start + count)]


def _letters(name: str) -> str:
    digest = hashlib.sha256(name.encode()).digest()
    return "".join(chr(ord("a") + byte % 26) for byte in digest[:4])


def _checked_uids(state: State, uids: Sequence[str], count: int) -> list[str]:
    names = [str(uid).strip() for uid in uids]
    if len(names) != count:
        raise InputError(f"{count} somata need {count} uids, not {len(names)}.")
    used = {uid for somata in state.somata.values() for uid in somata} | state.retired
    seen: set[str] = set()
    for name in names:
        if not name:
            raise InputError("A soma's uid is empty; fill it in or leave out the uid column.")
        if name in seen or name in used:
            where = "twice" if name in seen else "in this project already"
            raise InputError(
                f"The uid '{name}' occurs {where}; rename it or leave out the uid column."
            )
        seen.add(name)
    return names


def _living_dataset(state: State, uids: Sequence[str]) -> str:
    """Return the one dataset in which all the somata live."""
    datasets = set()
    for uid in uids:
        datasets.add(state.living_soma(uid).dataset)
    if len(datasets) != 1:
        raise InputError("Choose somata of one dataset.")
    return datasets.pop()


def _as_centers(centers_um: npt.ArrayLike) -> list[Vec3]:
    return [(z, y, x) for z, y, x in as_points(centers_um).tolist()]


def _as_list(values: Sequence[Any] | npt.NDArray[Any] | None) -> list[Any] | None:
    """Return plain Python numbers, with ``None`` for what is not known."""
    if values is None:
        return None
    plain = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return [None if value is None or value != value else value for value in plain]
