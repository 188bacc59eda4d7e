"""Which projects were open lately."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from fixtures.loops import Loop
from napari_neurobridge.workbench.recent import MOST_KEPT, RecentProjects
from napari_neurobridge.workbench.session import Session
from napari_neurobridge.workbench.user_settings import change_settings, load_settings


def _open(session: Session, path: Path) -> None:
    session.project_changed.emit(SimpleNamespace(path=path))


def test_the_latest_is_first_each_once_and_others_settings_stay(loop: Loop, tmp_path: Path) -> None:
    change_settings(next_after_verdict=True)
    session = Session(loop)
    recent = RecentProjects(session)
    assert recent.listed() == []
    folders = [tmp_path / f"{number}.neurobridge" for number in range(MOST_KEPT + 3)]
    for folder in [*folders, folders[5]]:
        _open(session, folder)
    session.project_changed.emit(None)
    names = [one.path.name for one in recent.listed()]
    assert names[:3] == ["5.neurobridge", "12.neurobridge", "11.neurobridge"]
    assert len(names) == len(set(names)) == MOST_KEPT
    assert load_settings().next_after_verdict


def test_a_folder_that_is_gone_is_listed_as_such(loop: Loop, tmp_path: Path) -> None:
    session = Session(loop)
    recent = RecentProjects(session)
    here, gone = tmp_path / "here.neurobridge", tmp_path / "gone.neurobridge"
    here.mkdir()
    for folder in (here, gone):
        _open(session, folder)
    listed = recent.listed()
    assert [(one.path, one.exists) for one in listed] == [(gone, False), (here, True)]
