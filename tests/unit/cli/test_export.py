import json

import pytest

from napari_neurobridge.cli._run import run
from napari_neurobridge.matching.matched_pairs import MatchedPair
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import VerdictEvidence
from napari_neurobridge.workflows.random_check import checks_in_words, draw_check

OPTIONS = ("--format", "report", "--no-measures", "--json", "--progress", "none")


@pytest.fixture(autouse=True)
def one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def project(real_model_project):
    return real_model_project


def accept(project, count):
    state = project.state()
    for number, uid in enumerate(list(state.somata["two_photon"])[:count]):
        partner = list(state.somata["fmost"])[number]
        annotate.accept(project, uid, partner, annotator="tester")


@pytest.mark.parametrize("name", ["out", "page.HTML"])
def test_a_report_goes_into_a_folder_or_a_file(project, tmp_path, capsys, name):
    pytest.importorskip("captum")
    accept(project, 3)
    assert run(["export", str(project.path), str(tmp_path / name), *OPTIONS]) == 0
    (file,) = json.loads(capsys.readouterr().out)["files"]
    path = tmp_path / "out" / "report.html" if name == "out" else tmp_path / name
    assert file == str(path)
    html = path.read_text(encoding="utf-8")
    assert "NeuroBridge report on real" in html
    assert "3 undisputed, 0 disputed" in html
    for uids in project.state().pairs.items():
        assert all(f"<td>{uid}</td>" in html for uid in uids)
    # Nobody who gets the page need know where the project lay.
    assert str(tmp_path) not in html


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pairs_are_told_in_one_sentence(project, tmp_path, capsys, count):
    accept(project, count)
    assert run(["export", str(project.path), str(tmp_path / "out"), *OPTIONS]) == 2
    error = capsys.readouterr().err
    assert "accept" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def check_three(project):
    sides = (list(project.state().somata[name])[:3] for name in ("two_photon", "fmost"))
    pairs = [MatchedPair(*uids, 0.9, 1.0, 1.0, False) for uids in zip(*sides, strict=True)]
    check = draw_check(project, pairs, 0.5, fdr=0.05, annotator="me")
    for pair in check.drawn:
        evidence = VerdictEvidence(audit=True, check=check.event_id)
        annotate.accept(project, *pair, evidence=evidence, annotator="me")
    return check


def test_the_latest_certificate_is_written_and_told_in_a_report(project, tmp_path, capsys):
    export = ["export", str(project.path), str(tmp_path / "c.json"), "--format", "certificate"]
    assert run(export) == 2
    assert "no finished random check" in capsys.readouterr().err
    check = check_three(project)
    assert run([*export, "--json", "--progress", "none"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == [str(tmp_path / "c.json")]
    told = json.loads((tmp_path / "c.json").read_text())
    assert (told["n"], told["n_wrong"], told["seed"]) == (len(check.drawn), 0, check.content.seed)
    assert checks_in_words(project)[0][1].startswith("At most 33.4 % of the 3 remaining pairs")
