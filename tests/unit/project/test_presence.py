"""Files that say who has a project open."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from napari_neurobridge.project.presence import FRESH_SECONDS, WindowPresence


def _age(folder: Path, seconds: float) -> None:
    """Make all files older, as if nobody had touched them for a while."""
    for file in (folder / "open").iterdir():
        stat = file.stat()
        os.utime(file, (stat.st_atime - seconds, stat.st_mtime - seconds))


def test_two_windows_see_each_other_until_one_leaves(tmp_path: Path) -> None:
    here, there = WindowPresence(tmp_path, "anna"), WindowPresence(tmp_path, "ben")
    assert here.refresh() == ()
    assert [visitor.annotator for visitor in there.refresh()] == ["anna"]
    assert [visitor.annotator for visitor in here.refresh()] == ["ben"]
    assert here.refresh()[0].is_here
    there.leave()
    there.leave()
    assert here.refresh() == ()


def test_a_look_that_ends_after_the_window_closed_does_not_bring_it_back(tmp_path: Path) -> None:
    here, there = WindowPresence(tmp_path, "anna"), WindowPresence(tmp_path, "ben")
    here.refresh()
    here.leave()
    here.refresh()
    assert there.refresh() == ()


def test_a_window_that_no_longer_touches_its_file_is_not_there(tmp_path: Path) -> None:
    here, there = WindowPresence(tmp_path, "anna"), WindowPresence(tmp_path, "ben")
    there.refresh()
    _age(tmp_path, FRESH_SECONDS + 1)
    assert here.refresh() == ()
    assert [visitor.annotator for visitor in there.refresh()] == ["anna"]
    assert [visitor.annotator for visitor in here.refresh()] == ["ben"], "it was only busy"


def test_a_crash_lies_for_no_moment_on_this_computer(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\n"
        "from napari_neurobridge.project.presence import WindowPresence\n"
        "WindowPresence(pathlib.Path(sys.argv[1]), 'ben').refresh()\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60)
    assert len(list((tmp_path / "open").iterdir())) == 1
    assert WindowPresence(tmp_path, "anna").refresh() == ()
    (left,) = (tmp_path / "open").iterdir()
    assert json.loads(left.read_text())["annotator"] == "anna"


def test_another_computer_counts_while_it_is_fresh_and_is_forgotten_after_a_day(
    tmp_path: Path,
) -> None:
    here = WindowPresence(tmp_path, "anna")
    other = {"annotator": "ben", "host": "far-away", "pid": 1, "since": "2026-01-01T00:00:00"}
    here.refresh()
    (tmp_path / "open" / "other.json").write_text(json.dumps(other))
    (visitor,) = here.refresh()
    assert not visitor.is_here
    _age(tmp_path, FRESH_SECONDS + 1)
    assert here.refresh() == ()
    assert (tmp_path / "open" / "other.json").exists()
    _age(tmp_path, 100_000)
    assert here.refresh() == ()
    assert not (tmp_path / "open" / "other.json").exists()


def test_damage_and_a_deleted_project_are_no_obstacle(tmp_path: Path) -> None:
    project = tmp_path / "gone.neurobridge"
    here = WindowPresence(project, "anna")
    assert here.refresh() == ()
    assert not project.exists()
    project.mkdir()
    here.refresh()
    (project / "open" / "half.json").write_text('{"annotator": "b')
    assert here.refresh() == ()
