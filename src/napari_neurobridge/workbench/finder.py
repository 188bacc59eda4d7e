"""Finding a cell by its uid, or what lies at a place."""

from __future__ import annotations

import heapq
import itertools
import re
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_neurobridge.errors import InputError
from napari_neurobridge.workflows.setup import named_uid

if TYPE_CHECKING:
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.types import Vec3
    from napari_neurobridge.workbench.questions import Questions
    from napari_neurobridge.workbench.session import Session

N_NEAREST = 3
"""So many uids that look alike are named where there is none of that name."""

_NUMBERED = re.compile(r"(.*?)(\d+)$")


class Finder:
    """Asks about the cell that a person names.

    Parameters
    ----------
    session : Session
        Where the project lives.
    questions : Questions
        Asks.

    Attributes
    ----------
    waiting : bool
        Whether somebody wants to type what is to be found, and sees no field for it yet.
    """

    requested = Signal()

    def __init__(self, session: Session, questions: Questions) -> None:
        self.waiting = False
        self._session = session
        self._questions = questions

    def request(self) -> None:
        """Let whoever has a field for it put the cursor there, now or once it is seen."""
        self.waiting = True
        self.requested.emit()

    def find(self, text: str) -> bool:
        """Ask about a cell, or go to a place; return whether there is one.

        Parameters
        ----------
        text : str
            A uid, or "z y x" in µm of the two-photon space; the name of another dataset before
            the numbers means a place of its space.
        """
        found: list[bool] = []

        def ask() -> None:
            project = self._session.require_project()
            words = text.replace(",", " ").replace(";", " ").split()
            if not words:
                raise InputError("Type a uid, or a place as z y x in µm.")
            place = _place(project, words)
            if place is None:
                dataset, uid = _soma(project, text.strip())
                self._questions.select(dataset, uid)
            else:
                self._go(project, *place)
            found.append(True)

        self._session.attempt(ask)
        return bool(found)

    def _go(self, project: Project, dataset: str, place_um: Vec3) -> None:
        """Ask about the nearest soma, and say how far it is; look at the place itself."""
        somata = list(project.state().somata[dataset].values())
        if not somata:
            raise InputError(f"There is no soma in '{dataset}'.")
        away = np.linalg.norm(np.array([s.center_um for s in somata]) - place_um, axis=1)
        nearest = int(away.argmin())
        self._questions.select(dataset, somata[nearest].uid)
        self._questions.look_requested.emit(dataset, place_um)
        self._session.notify(f"{somata[nearest].uid} is {away[nearest]:.0f} µm from that place")


def _place(project: Project, words: list[str]) -> tuple[str, Vec3] | None:
    """Return dataset and place, µm (z, y, x), if that is what the words say."""
    dataset = project.in_vivo()
    if len(words) == 4 and words[0] in project.datasets:
        dataset, words = words[0], words[1:]
    if len(words) != 3:
        return None
    try:
        z, y, x = (float(word) for word in words)
    except ValueError:
        return None
    if not np.isfinite([z, y, x]).all():
        return None
    return dataset, (z, y, x)


def _soma(project: Project, name: str) -> tuple[str, str]:
    """Return dataset and uid of the soma that a person names."""
    state = project.state()
    for dataset, somata in state.somata.items():
        uid = named_uid(state, dataset, name)
        if uid in somata:
            return dataset, uid
    lower = name.lower()
    alike = [
        (d, uid) for d, somata in state.somata.items() for uid in somata if uid.lower() == lower
    ]
    if len(alike) == 1:
        return alike[0]
    nearest = nearest_uids(state, name)
    if not nearest:
        raise InputError(f"There is no soma '{name}'; this project has no somata yet.")
    gone = "was removed" if name in state.retired else "is not there"
    raise InputError(f"Soma '{name}' {gone}; the nearest uids are {', '.join(nearest)}.")


def nearest_uids(state: State, name: str) -> list[str]:
    """Return the uids most like a name: of its kind the nearest numbers, else the same start."""
    wanted = name.lower()
    prefix, number = _split(wanted)

    def unlike(uid: str) -> tuple[bool, int, str]:
        lower = uid.lower()
        kind, other = _split(lower)
        if kind == prefix and number is not None and other is not None:
            return False, abs(other - number), uid
        return True, -_n_alike(lower, wanted), uid

    uids = (uid for somata in state.somata.values() for uid in somata)
    return heapq.nsmallest(N_NEAREST, uids, key=unlike)


def _split(name: str) -> tuple[str, int | None]:
    """Return what stands before the number at the end of a name, and the number."""
    found = _NUMBERED.match(name)
    return (found[1], int(found[2])) if found else (name, None)


def _n_alike(one: str, other: str) -> int:
    """Return how many letters two names begin with alike."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
