"""Projects that were opened lately, for all viewers of a user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_neurobridge.workbench.user_settings import change_settings, load_settings

if TYPE_CHECKING:
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workbench.session import Session

MOST_KEPT = 10


@dataclass(frozen=True, slots=True)
class RecentProject:
    """A project folder that was opened before.

    Attributes
    ----------
    path : Path
    exists : bool
        Whether it is still there; a drive may be away for a while.
    """

    path: Path
    exists: bool


class RecentProjects:
    """Remembers each project that is opened.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        session.project_changed.connect(self._on_project_changed)

    def listed(self) -> list[RecentProject]:
        """Return the projects, the latest first, as the user's settings have them now."""
        paths = map(Path, load_settings().recent_projects)
        return [RecentProject(path, path.is_dir()) for path in paths]

    def _on_project_changed(self, project: Project | None) -> None:
        if project is not None:
            path = str(project.path)
            others = [other for other in load_settings().recent_projects if other != path]
            change_settings(recent_projects=(path, *others[: MOST_KEPT - 1]))
