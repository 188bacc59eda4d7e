"""Making projects from what a user names, and verdicts in bulk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixtures.projects import true_partner
from napari_neurobridge.errors import InputError, InvalidActionError
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import NoneReason, Role, SomaSource, Verdict
from napari_neurobridge.workflows.detect import detect_dataset
from napari_neurobridge.workflows.judgements import Judgement, judge_all
from napari_neurobridge.workflows.pair_crops import accepted_pairs
from napari_neurobridge.workflows.setup import DatasetSource, create_project, import_points


def write_points(path: Path, *rows: str, header: str = "uid,z_um,y_um,x_um") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def sources(two_photon: Path, fmost: Path) -> list[DatasetSource]:
    return [
        DatasetSource(name="two_photon", role=Role.IN_VIVO, points=two_photon),
        DatasetSource(name="fmost", role=Role.EX_VIVO, points=fmost),
    ]


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    first = write_points(tmp_path / "a.csv", "a1,1,2,3", "a2,4,5,6")
    return first, write_points(tmp_path / "b.csv", "7,8,9", "1,1,1", header="z_um,y_um,x_um")


def test_tables_of_points_become_imported_somata(tmp_path: Path, tables) -> None:
    project = create_project(tmp_path / "p.neurobridge", sources(*tables))
    somata = project.state().somata
    assert somata["two_photon"]["a2"].center_um == (4.0, 5.0, 6.0)
    assert [soma.center_um for soma in somata["fmost"].values()] == [(7, 8, 9), (1, 1, 1)]
    assert {s.source for side in somata.values() for s in side.values()} == {SomaSource.IMPORTED}


def test_nothing_is_made_when_a_table_is_wrong(tmp_path: Path, tables) -> None:
    folder = tmp_path / "p.neurobridge"
    broken = write_points(tmp_path / "c.csv", "1,2", header="z_um,y_um")
    with pytest.raises(InputError, match="x_um"):
        create_project(folder, sources(tables[0], broken))
    with pytest.raises(InputError, match="needs an image or a table"):
        create_project(folder, [DatasetSource("two_photon", Role.IN_VIVO)])
    assert not folder.exists()


def test_tables_that_count_alike_stay_apart(tmp_path: Path, tables) -> None:
    alike = write_points(tmp_path / "d.csv", "a1,0,0,0", "a2,9,9,9")
    project = create_project(tmp_path / "p.neurobridge", sources(tables[0], alike))
    assert list(project.state().somata["fmost"]) == ["fmost-a1", "fmost-a2"]
    # As the person's own tables name them, and as the project does.
    for names in (("a1", "a2"), ("a2", "fmost-a1")):
        judge_all(project, [Judgement(Verdict.ACCEPT, *names)], annotator="b")
    assert project.state().pairs == {"a1": "fmost-a2", "a2": "fmost-a1"}


def test_a_project_without_images_cannot_detect(tmp_path: Path, tables) -> None:
    project = create_project(tmp_path / "p.neurobridge", sources(*tables))
    assert project.datasets_with_images == []
    with pytest.raises(InputError, match="only points"):
        detect_dataset(project, "fmost")
    with pytest.raises(InputError, match="moon"):
        import_points(project, "moon", tables[0])


def test_verdicts_are_recorded_in_order_until_one_contradicts(tmp_path: Path, tables) -> None:
    project = create_project(tmp_path / "p.neurobridge", sources(*tables))
    judgements = [
        Judgement(Verdict.ACCEPT, "a1", "fm-00001"),
        Judgement(Verdict.NONE, "a2", reason=NoneReason.CUT),
        Judgement(Verdict.ACCEPT, "a1", "fm-00002"),
    ]
    with pytest.raises(InvalidActionError) as caught:
        judge_all(project, judgements, annotator="b")
    assert caught.value.forceable
    assert project.state().pairs == {"a1": "fm-00001"}
    assert project.state().none == {"a2": NoneReason.CUT}
    judge_all(project, judgements[2:], annotator="b", force=True)
    assert project.state().pairs == {"a1": "fm-00002"}


def test_an_unknown_soma_stops_the_list_before_it_begins(tmp_path: Path, tables) -> None:
    project = create_project(tmp_path / "p.neurobridge", sources(*tables))
    judgements = [
        Judgement(Verdict.ACCEPT, "a1", "fm-00001"),
        Judgement(Verdict.UNSURE, "a2", "fm-09999"),
    ]
    with pytest.raises(InputError, match="fm-09999"):
        judge_all(project, judgements, annotator="b")
    assert not project.state().verdicts


def test_evaluation_needs_accepted_pairs(tmp_path: Path, tables) -> None:
    project = create_project(tmp_path / "p.neurobridge", sources(*tables))
    with pytest.raises(InputError, match="no accepted pairs"):
        accepted_pairs(project)
    annotate.accept(project, "a1", "fm-00001")
    with pytest.raises(InputError, match="'two_photon' has points but no image"):
        accepted_pairs(project)


def test_accepted_pairs_show_both_cells_in_one_orientation_and_where_they_lie(project) -> None:
    uids = ("tp-00009", "tp-00002", "tp-00005")
    for uid in uids:
        annotate.accept(project, uid, true_partner(uid))
    pairs = accepted_pairs(project)
    assert pairs.scene.tolist() == [0, 0, 0]
    # In the order of their uids, and turned into the two-photon frame.
    state = project.state()
    in_vivo_um = np.array([state.soma(uid).center_um for uid in sorted(uids)])
    assert np.allclose(pairs.center_um - pairs.center_um[0], in_vivo_um - in_vivo_um[0])
    flat = [side.reshape(3, -1) for side in (pairs.two_photon, pairs.fmost)]
    alike = np.corrcoef(*flat)[:3, 3:]
    assert (alike.argmax(axis=1) == np.arange(3)).all()
    assert alike.diagonal().min() > 0.8
