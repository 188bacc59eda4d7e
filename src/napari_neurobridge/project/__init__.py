"""The project folder: its datasets, its event log, and what people decided.

Names are loaded when first used, so that importing the package stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.events import Event, VerdictEvidence
    from napari_neurobridge.project.log.fold import StandingVerdict, State, fold
    from napari_neurobridge.project.log.merging import merge
    from napari_neurobridge.project.log.payload import EventKind
    from napari_neurobridge.project.manifest import DatasetSpec
    from napari_neurobridge.project.store import EventLog

_HOMES = {
    "DatasetSpec": "manifest",
    "Event": "log.events",
    "EventKind": "log.payload",
    "EventLog": "store",
    "Project": "folder",
    "StandingVerdict": "log.fold",
    "State": "log.fold",
    "VerdictEvidence": "log.events",
    "fold": "log.fold",
    "merge": "log.merging",
}

__all__ = [
    "DatasetSpec",
    "Event",
    "EventKind",
    "EventLog",
    "Project",
    "StandingVerdict",
    "State",
    "VerdictEvidence",
    "fold",
    "merge",
]


def __getattr__(name: str) -> Any:
    """Load a public name from the module that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
