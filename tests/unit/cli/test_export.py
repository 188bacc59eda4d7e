import json

import pytest

from napari_neurobridge.cli._run import run
from napari_neurobridge.project.log import annotate

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
