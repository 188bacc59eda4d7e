"""Registering the two datasets of a project by the pattern of their somata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge import __version__
from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.project.log.events import default_annotator
from napari_neurobridge.project.log.registrations import RegistrationApplied
from napari_neurobridge.spaces.transform_numbers import to_numbers

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.matching.constellation.localise import Localisation, LocalisationParams
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.events import Event
    from napari_neurobridge.spaces.orientation import Orientation
    from napari_neurobridge.types import Report

BY_SOMATA = "somata"
"""How such a registration was found, as its event says."""


@dataclass(frozen=True, eq=False)
class RegistrationProposal:
    """What was found of a project, and between which datasets.

    Attributes
    ----------
    source, target : str
        The in-vivo and the ex-vivo dataset.
    found : Localisation
        Where the first lies in the second, or why that is not known.
    """

    source: str
    target: str
    found: Localisation


def propose_registration(
    project: Project,
    *,
    orientation: Orientation | None = None,
    params: LocalisationParams | None = None,
    report: Report | None = None,
) -> RegistrationProposal:
    """Look for the in-vivo field in the ex-vivo volume, without any pair; nothing is changed.

    Parameters
    ----------
    project : Project
    orientation : Orientation, optional
        How the ex-vivo dataset lies in the two-photon frame, for this search alone. The
        project's unless given; where nobody stated one, the axes of both are taken to be the
        same. The angle about the optical axis does not count.
    params : LocalisationParams, optional
    report : callable, optional
        Called as ``report(done, total, message)``; it may raise to cancel.

    Raises
    ------
    InputError
        If a side has no somata.
    """
    from napari_neurobridge.matching.constellation.localise import localise  # torch, seconds

    names = project.in_vivo(), project.ex_vivo()
    source_um, target_um = (_centers_um(project, name) for name in names)
    linear = project.linear(*names) if orientation is None else orientation.linear()
    found = localise(
        source_um, target_um, orientation=linear, params=params, names=names, report=report
    )
    return RegistrationProposal(*names, found)


def apply_registration(
    project: Project, proposal: RegistrationProposal, *, annotator: str | None = None
) -> Event:
    """Let a project's alignment rest on an accepted registration, until that is undone.

    Raises
    ------
    InputError
        If the registration was refused.
    """
    found = proposal.found
    if found.transform is None:
        raise InputError(f"A refused registration cannot be applied. {found.decision.reason}")
    applied = RegistrationApplied(
        transform=to_numbers(found.transform),
        method=BY_SOMATA,
        accepted=found.decision.accepted,
        reason=found.decision.reason,
        evidence=found.evidence.model_dump(),
        software_version=__version__,
    )
    return project.record(annotator or default_annotator(), lambda _: [applied])[0]


def _centers_um(project: Project, name: str) -> npt.NDArray[np.float64]:
    """Return where the living somata of a dataset lie, (N, 3) µm."""
    somata = project.state().somata[name]
    if not somata:
        raise InputError(f"'{name}' has no somata.", kind=ErrorKind.NO_SOMATA)
    return np.array([soma.center_um for soma in somata.values()])
