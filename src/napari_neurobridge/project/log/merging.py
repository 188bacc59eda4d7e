"""Merge what two people decided in their own copies of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.rois.outline_file import copy_outlines
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log.landmark_events import LandmarksPlaced
from napari_neurobridge.project.log.soma_events import PlacedSomata

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_neurobridge.project.log.events import Event


def merge(project: Project, other: Project | str | Path) -> int:
    """Add all events of another project to this one; the other is left as it is.

    The result is a union by event id, so it does not matter which is merged into which,
    nor how often.

    Parameters
    ----------
    project : Project
        Gets the events.
    other : Project or path
        Gives them.

    Returns
    -------
    int
        Number of events that were new.

    Raises
    ------
    InputError
        If the two hold other images under one name, or gave one uid to two somata or landmarks.
    """
    if not isinstance(other, Project):
        opened = Project.open(other)
        try:
            return merge(project, opened)
        finally:
            opened.close()
    _check_datasets(project, other)
    # Before the events that name them.
    copy_outlines(other.rois_dir, project.rois_dir)
    theirs = other.log.events()
    with project.log.writing() as writer:
        ours, _ = writer.read()
        _check_uids(ours, theirs)
        return writer.append(theirs)


def _check_datasets(project: Project, other: Project) -> None:
    for name, spec in other.datasets.items():
        known = project.datasets.get(name)
        if known is None:
            raise InputError(
                f"{other.path} has a dataset '{name}' that {project.path} lacks.",
                kind=ErrorKind.NO_DATASET,
            )
        if (known.role, known.fingerprint) != (spec.role, spec.fingerprint):
            raise InputError(
                f"Dataset '{name}' is another image in {other.path} than in {project.path}; only "
                "copies of one project can be merged."
            )


def _check_uids(ours: Iterable[Event], theirs: Iterable[Event]) -> None:
    births = _births(ours)
    for uid, birth in _births(theirs).items():
        if births.get(uid, birth) != birth:
            raise InputError(
                f"The two projects gave the uid '{uid}' to different somata or landmarks; only "
                "copies of one project, annotated under different names, can be merged."
            )


def _births(events: Iterable[Event]) -> dict[str, str]:
    """Return for each uid the id of the event that first named it."""
    births: dict[str, str] = {}
    for event in sorted(events, key=lambda event: event.order):
        if isinstance(event.content, PlacedSomata | LandmarksPlaced):
            for uid in event.content.uids:
                births.setdefault(uid, event.id)
    return births
