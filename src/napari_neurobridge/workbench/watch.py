"""Staying in step with other windows, processes and computers that have the project open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_neurobridge.project.presence import Visitor, WindowPresence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_neurobridge.errors import NeuroBridgeError
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.types import Soma
    from napari_neurobridge.workbench.session import Session

_KEY = "watch"


@dataclass(frozen=True)
class _Seen:
    """What one look found.

    ``datasets`` are those whose somata have changed since the views were told.
    """

    state: State
    datasets: tuple[str, ...]
    others: tuple[Visitor, ...]


class Watch:
    """Looks from time to time whether others have appended to the project's log.

    Parameters
    ----------
    session : Session
        Told about what others have changed, as about what was changed here.

    Attributes
    ----------
    others : tuple of Visitor
        Other windows that have the project open.
    """

    others_changed = Signal(object)

    def __init__(self, session: Session) -> None:
        self.others: tuple[Visitor, ...] = ()
        self._session = session
        self._presence: WindowPresence | None = None
        # What the views were told of.
        self._told: State | None = None
        self._somata: dict[str, Mapping[str, Soma]] = {}
        self._looking = False
        session.project_changed.connect(self._on_project_changed)
        session.verdicts_changed.connect(self._on_verdicts_changed)
        session.somata_changed.connect(self._on_somata_changed)

    def look(self) -> None:
        """Look once, in the background; for a timer of whoever owns an event loop."""
        project, presence = self._session.project, self._presence
        told, somata = self._told, dict(self._somata)
        if project is None or presence is None or self._looking:
            return
        self._looking = True

        def see() -> _Seen:
            state = project.state()
            return _Seen(state, _changed(somata, state), presence.refresh())

        def tell(seen: _Seen) -> None:
            self._looking = False
            if self._session.project is not project:
                return
            self._set_others(seen.others)
            if self._told is not told:
                return  # something was changed here meanwhile; the next look sees what is left
            for dataset in seen.datasets:
                self._session.somata_changed.emit(dataset)
            if seen.datasets or seen.state is not told:
                self._session.verdicts_changed.emit()

        def fail(_: NeuroBridgeError) -> None:
            # A drive that is away for a while is told by whatever needs it.
            self._looking = False

        self._session.jobs.submit(_KEY, see, tell, fail, beside=True)

    def close(self) -> None:
        """Leave the project; safe to call twice."""
        if self._presence is not None:
            self._presence.leave()
            self._presence = None

    def _on_project_changed(self, project: Project | None) -> None:
        self.close()
        self._session.jobs.forget(_KEY)
        self._looking = False
        if project is not None:
            self._presence = WindowPresence(project.path, self._session.annotator)
            self._told = project.state()
            self._somata = dict(self._told.somata)
        self._set_others(())

    def _on_verdicts_changed(self) -> None:
        project = self._session.project
        self._told = None if project is None else project.state()

    def _on_somata_changed(self, dataset: str) -> None:
        project = self._session.project
        if project is not None:
            self._somata[dataset] = project.state().somata.get(dataset, {})

    def _set_others(self, others: tuple[Visitor, ...]) -> None:
        if others == self.others:
            return
        came = len(others) > len(self.others)
        self.others = others
        self.others_changed.emit(others)
        if came:
            self._session.notify(f"This project is {in_words(others)}.")


def in_words(others: tuple[Visitor, ...]) -> str:
    """Return where else a project is open, in a few words."""
    places = {
        "in another window" if other.is_here else f"by {other.annotator} on {other.host}"
        for other in others
    }
    return f"also open elsewhere, {' and '.join(sorted(places))}"


def _changed(somata: Mapping[str, Mapping[str, Soma]], state: State) -> tuple[str, ...]:
    """Return the datasets whose somata are no longer those."""
    return tuple(name for name, now in state.somata.items() if now != somata.get(name, {}))
