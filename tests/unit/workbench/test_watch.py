"""Two workbenches on one project stay in step."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.loops import Loop
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import SomaSource
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.workbench import Workbench


@pytest.fixture
def workbench(loop: Loop, points_project_folder: Path) -> Iterator[Workbench]:
    bench = Workbench(loop, annotator="anna")
    bench.session.set_project(Project.open(points_project_folder))
    yield bench
    bench.close()


@pytest.fixture
def heard(workbench: Workbench) -> list[str]:
    """What the views are told, from now on."""
    told: list[str] = []
    workbench.session.somata_changed.connect(told.append)
    workbench.session.verdicts_changed.connect(lambda: told.append("verdicts"))
    return told


def _look(workbench: Workbench, loop: Loop) -> None:
    workbench.watch.look()
    loop.run_until(lambda: not workbench.watch._looking)


def test_nothing_is_told_while_nobody_changes_anything(
    workbench: Workbench, loop: Loop, heard: list[str]
) -> None:
    for _ in range(3):
        _look(workbench, loop)
    assert heard == []
    workbench.verdicts.add_somata("two_photon", [(1.0, 2.0, 3.0)])
    heard.clear()
    _look(workbench, loop)
    assert heard == [], "the views know what was done here"


def test_verdicts_and_somata_of_others_reach_the_views(
    workbench: Workbench, loop: Loop, heard: list[str], points_project_folder: Path
) -> None:
    other = Project.open(points_project_folder)
    annotate.accept(other, "tp-00001", "fm-00001", annotator="ben")
    _look(workbench, loop)
    assert heard == ["verdicts"]
    assert workbench.project.state().pairs == {"tp-00001": "fm-00001"}
    annotate.add_somata(
        other, "fmost", [(1.0, 2.0, 3.0)], source=SomaSource.MANUAL, annotator="ben"
    )
    _look(workbench, loop)
    assert heard == ["verdicts", "fmost", "verdicts"]
    _look(workbench, loop)
    assert heard == ["verdicts", "fmost", "verdicts"], "once"


def test_somata_that_came_with_an_own_verdict_are_told_too(
    workbench: Workbench, loop: Loop, heard: list[str], points_project_folder: Path
) -> None:
    other = Project.open(points_project_folder)
    annotate.delete_soma(other, "fm-00002", annotator="ben")
    annotate.accept(workbench.project, "tp-00001", "fm-00001", annotator="anna")
    workbench.session.verdicts_changed.emit()
    heard.clear()
    _look(workbench, loop)
    assert heard == ["fmost", "verdicts"]


def test_another_process_is_named_while_it_lives(
    workbench: Workbench, loop: Loop, points_project_folder: Path
) -> None:
    notices: list[Notice] = []
    workbench.session.notified.connect(notices.append)
    code = (
        "import sys, pathlib\n"
        "from napari_neurobridge.project.presence import WindowPresence\n"
        "WindowPresence(pathlib.Path(sys.argv[1]), 'ben').refresh()\n"
        "print('there', flush=True); sys.stdin.read()\n"
    )
    _look(workbench, loop)
    assert workbench.watch.others == ()
    with subprocess.Popen(
        [sys.executable, "-c", code, str(points_project_folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout.readline() == b"there\n"
        _look(workbench, loop)
        (visitor,) = workbench.watch.others
        assert (visitor.annotator, visitor.pid) == ("ben", child.pid)
        assert notices[-1].text == "This project is also open elsewhere, in another window."
        child.kill()
    _look(workbench, loop)
    assert workbench.watch.others == ()


def test_closing_leaves_no_sign_and_a_project_that_is_gone_is_no_error(
    workbench: Workbench, loop: Loop, points_project_folder: Path
) -> None:
    _look(workbench, loop)
    signs = points_project_folder / "open"
    assert len(list(signs.iterdir())) == 1
    workbench.session.set_project(None)
    assert list(signs.iterdir()) == []
    workbench.watch.look()
    assert not workbench.watch._looking
