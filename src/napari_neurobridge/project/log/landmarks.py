"""Landmarks that are no somata, placed, changed and removed as events of the project's log."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.log.events import default_annotator
from napari_neurobridge.project.log.judging import Judgement, verdicts_of
from napari_neurobridge.project.log.landmark_events import (
    LandmarkChanged,
    LandmarksDeleted,
    LandmarksPlaced,
)
from napari_neurobridge.project.log.somata import numbered_uids
from napari_neurobridge.spaces.affine import as_points
from napari_neurobridge.types import Role, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.events import Event
    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.project.log.landmark_events import PointLandmark
    from napari_neurobridge.project.log.payload import Payload
    from napari_neurobridge.types import Vec3

DEFAULT_SIGMA_UM = 5.0
"""A branch of a vessel is some 10 µm wide; a soma's place is known to about 2.5 µm."""

LEAST_SIGMA_UM, MOST_SIGMA_UM = 0.1, 200.0

_PREFIX = "lm"


def place_landmarks(
    project: Project,
    places_um: Mapping[str, npt.ArrayLike],
    *,
    sigma_um: float | Sequence[float] = DEFAULT_SIGMA_UM,
    annotator: str | None = None,
    judgements: Sequence[Judgement] = (),
    force: bool = False,
) -> list[str]:
    """Place landmarks that are no somata, in one step of undo.

    Parameters
    ----------
    project : Project
    places_um : mapping of dataset to array_like, shape (N, 3)
        Two datasets, with the places of the same points in either, µm (z, y, x).
    sigma_um : float or sequence of length N
        How exactly they are known: standard deviation of each component, 0.1 to 200 µm.
    annotator : str, optional
        Who places them.
    judgements : sequence of Judgement
        Verdicts that belong to the same step.
    force : bool
        Set aside accepted pairs that those contradict.

    Returns
    -------
    list of str
        Their uids.

    Raises
    ------
    InputError
        If there are not two datasets with as many finite places, or an uncertainty is none.
    InvalidActionError
        As `annotate.judge_together`.
    """
    annotator = annotator or default_annotator()
    datasets = _two_datasets(project, places_um)
    first, second = (_as_places(places_um[name]) for name in datasets)
    if len(first) != len(second):
        raise InputError(f"{len(first)} points cannot be paired with {len(second)}.")
    sigma = _checked_sigma(sigma_um, len(first))
    step = uuid4().hex if judgements else None
    uids: list[str] = []

    def decide(state: State) -> list[Payload]:
        given: list[Payload] = [*verdicts_of(project, state, judgements, force=force, step=step)]
        if first:
            uids.extend(_new_uids(state, datasets, len(first), annotator))
            placed = LandmarksPlaced(
                datasets=datasets,
                uids=uids,
                first_um=first,
                second_um=second,
                sigma_um=sigma,
                step=step,
            )
            given.append(placed)
        return given

    project.record(annotator, decide)
    return uids


def change_landmark(
    project: Project,
    uid: str,
    *,
    places_um: Mapping[str, Vec3] | None = None,
    sigma_um: float | None = None,
    annotator: str | None = None,
) -> list[Event]:
    """Put a landmark elsewhere, or say how exactly it is known.

    Parameters
    ----------
    project : Project
    uid : str
    places_um : mapping of dataset to Vec3, optional
        µm (z, y, x); what is not named stays.
    sigma_um : float, optional
        See `place_landmarks`.
    annotator : str, optional
        Who says so.

    Raises
    ------
    InputError
        If there is no such landmark, it does not lie in a dataset, or a number is none.
    """
    places = {name: _as_places([place])[0] for name, place in (places_um or {}).items()}
    sigma = None if sigma_um is None else _checked_sigma(sigma_um, 1)[0]

    def decide(state: State) -> list[LandmarkChanged]:
        landmark = living_landmark(state, uid)
        for name in places.keys() - set(landmark.datasets):
            raise InputError(f"Landmark '{uid}' does not lie in '{name}'.")
        return [LandmarkChanged(uid=uid, places_um=places, sigma_um=sigma)]

    return project.record(annotator or default_annotator(), decide)


def delete_landmarks(
    project: Project, uids: Sequence[str], *, annotator: str | None = None
) -> list[Event]:
    """Remove landmarks, as one step of undo; their uids are never given again.

    Raises
    ------
    InputError
        If there is no such landmark.
    """

    def decide(state: State) -> list[LandmarksDeleted]:
        for uid in uids:
            living_landmark(state, uid)
        return [LandmarksDeleted(uids=list(uids))] if uids else []

    return project.record(annotator or default_annotator(), decide)


def replace_by_pair(
    project: Project,
    uid: str,
    pair: tuple[str, str],
    *,
    annotator: str | None = None,
    force: bool = False,
) -> list[Event]:
    """Accept the pair of somata that a landmark lies on in its place, as one step of undo.

    Raises
    ------
    InvalidActionError
        Forceable, if one of the somata already has another partner.
    InputError
        If there is no such landmark, or a soma does not live.
    """
    step = uuid4().hex
    judgement = Judgement(Verdict.ACCEPT, *pair)

    def decide(state: State) -> list[Payload]:
        living_landmark(state, uid)
        accepted = verdicts_of(project, state, [judgement], force=force, step=step)
        return [LandmarksDeleted(uids=[uid], step=step), *accepted]

    return project.record(annotator or default_annotator(), decide)


def living_landmark(state: State, uid: str) -> PointLandmark:
    """Return a landmark.

    Raises
    ------
    InputError
        If there is none.
    """
    landmark = state.landmarks.living.get(uid)
    if landmark is None:
        gone = uid in state.landmarks.used
        raise InputError(
            f"Landmark '{uid}' was removed from this project."
            if gone
            else f"There is no landmark '{uid}' in this project."
        )
    return landmark


def _new_uids(state: State, datasets: tuple[str, str], count: int, annotator: str) -> list[str]:
    highest = max((int(uid.split("-")[1]) for uid in state.landmarks.used), default=0)
    # Two people's copies know alike who first placed somata, and not who first placed a landmark.
    owners = [state.owners[name] for name in datasets if name in state.owners]
    return numbered_uids(_PREFIX, highest + 1, count, (*owners, annotator)[0], annotator)


def _two_datasets(project: Project, places_um: Mapping[str, object]) -> tuple[str, str]:
    """Return the two datasets' names, in vivo before ex vivo and by name within one role."""
    specs = [project.dataset(name) for name in places_um]
    if len(specs) != 2:
        raise InputError(f"A landmark lies in two datasets, not in {len(specs)}.")
    first, second = sorted(specs, key=lambda spec: (spec.role is Role.EX_VIVO, spec.name))
    return first.name, second.name


def _as_places(places_um: npt.ArrayLike) -> list[Vec3]:
    return [(z, y, x) for z, y, x in as_points(places_um).tolist()]


def _checked_sigma(sigma_um: float | Sequence[float], count: int) -> list[float]:
    sigma = np.asarray(sigma_um, dtype=np.float64)
    if sigma.ndim > 1 or (sigma.ndim and len(sigma) != count):
        raise InputError(f"{count} landmarks need as many uncertainties, not {sigma.size}.")
    outside = ~((sigma >= LEAST_SIGMA_UM) & (sigma <= MOST_SIGMA_UM))
    if outside.any():
        raise InputError(
            f"A landmark's uncertainty lies between {LEAST_SIGMA_UM:g} and {MOST_SIGMA_UM:g} µm, "
            f"not at {float(sigma[outside][0] if sigma.ndim else sigma):g}."
        )
    return [float(value) for value in np.broadcast_to(sigma, count)]
