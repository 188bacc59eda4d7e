"""What a project would say after a verdict that nobody has given yet; nothing is written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_neurobridge.project.log.events import Event
from napari_neurobridge.project.log.judging import verdicts_of
from napari_neurobridge.project.log.verdicts_fold import fold_one_more

if TYPE_CHECKING:
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.project.log.judging import Judgement

# Sorts after whatever was decided.
_AFTER_ALL = "9999-12-31T23:59:59.999999"


def suppose(project: Project, judgement: Judgement, annotator: str) -> State:
    """Return the state as it would be after a verdict, forced where it contradicts another.

    Parameters
    ----------
    project : Project
        Whose log is only read.
    judgement : Judgement
    annotator : str
        Who would say so.

    Raises
    ------
    InputError
        If a soma does not live or both lie in one dataset.
    """
    state = project.state()
    (content,) = verdicts_of(project, state, [judgement], force=True)
    event = Event(
        id="supposed",
        time=_AFTER_ALL,
        annotator=annotator,
        sequence=0,
        kind=content.kind,
        version=content.version,
        payload=content.model_dump(mode="json"),
    )
    after = fold_one_more(state.verdicts, event)
    return replace(
        state,
        verdicts=after.verdicts,
        agreed=after.agreed,
        disputed=after.disputed,
        none=after.none,
    )
