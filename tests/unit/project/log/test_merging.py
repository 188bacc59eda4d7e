from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.project import DatasetSpec, Project, merge
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import Role, SomaSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def copy(project: Project, tmp_path: Path) -> Iterator[Project]:
    """What a colleague got."""
    project.close()
    shutil.copytree(project.path, tmp_path / "copy")
    copy = Project.open(tmp_path / "copy")
    yield copy
    copy.close()


def test_merging_is_a_union_whichever_way(project: Project, copy: Project) -> None:
    ours = Project.open(project.path)
    annotate.accept(ours, "tp-00001", "fm-00001", annotator="anna")
    annotate.add_somata(ours, "fmost", [(9, 9, 9)], source=SomaSource.MANUAL, annotator="anna")
    annotate.accept(copy, "tp-00001", "fm-00002", annotator="ben")
    annotate.add_somata(copy, "fmost", [(5, 5, 5)], source=SomaSource.MANUAL, annotator="ben")

    assert merge(ours, copy) == 2
    assert merge(ours, copy) == 0
    assert merge(copy, ours.path) == 2
    state = ours.state()
    assert state == copy.state()
    assert state.pairs == {}
    assert state.disputed == {("tp-00001", "fm-00001"), ("tp-00001", "fm-00002")}
    assert len(state.somata["fmost"]) == 7
    ours.close()


def test_one_uid_for_two_somata_is_refused(project: Project, copy: Project) -> None:
    ours = Project.open(project.path)
    for each, z in ((ours, 1), (copy, 2)):
        annotate.add_somata(each, "fmost", [(z, 0, 0)], source=SomaSource.MANUAL, annotator="anna")
    with pytest.raises(InputError, match="'fm-00006' to different somata"):
        merge(ours, copy)
    assert len(ours.state().somata["fmost"]) == 6
    ours.close()


def test_other_datasets_are_refused(project: Project, copy: Project) -> None:
    ours = Project.open(project.path)
    copy.add_dataset(DatasetSpec(name="em", role=Role.EX_VIVO))
    with pytest.raises(InputError, match=r"dataset 'em' that .* lacks"):
        merge(ours, copy)
    ours.add_dataset(DatasetSpec(name="em", role=Role.IN_VIVO))
    with pytest.raises(InputError, match="'em' is another image"):
        merge(ours, copy)
    ours.close()
