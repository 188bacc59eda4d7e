"""``bundle``, ``train OUT.zip`` and ``import-model``: one job, out and back."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from fixtures.models import MakeModel
from fixtures.projects import true_partner
from napari_neurobridge.cli import main
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate


def ask(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def test_one_job_out_and_back(
    real_model_project: Project, make_model: MakeModel, tmp_path: Path
) -> None:
    for uid in sorted(real_model_project.state().somata["two_photon"])[:8]:
        annotate.accept(real_model_project, uid, true_partner(uid), annotator="me")
    path, job = real_model_project.path, tmp_path / "job.zip"
    code, out, error = ask("bundle", path, job, "--from", make_model(tmp_path / "tiny"), "--json")
    assert code == 0, error
    assert json.loads(out)["n_train"] == 4
    code, out, error = ask("train", job, "--strategy", "full", "--steps", 1, "--json")
    assert code == 0, error
    trained = json.loads(out)
    assert trained["model"] == str(tmp_path / "job-model")
    assert trained["separation"] == "none"
    code, out, error = ask("import-model", path, tmp_path / "job-model", "--json")
    assert code == 0, error
    assert json.loads(out)["name"] == "job-model"
    assert (real_model_project.models_dir / "job-model" / "weights.safetensors").is_file()

    code, _, error = ask("train", job, "--free-labels")
    assert code == 2
    assert error.count("\n") == 1
    assert "A bundle says itself" in error
    job.write_bytes(b"x" + job.read_bytes()[1:-100])
    code, _, error = ask("train", job, "--strategy", "full")
    assert code == 2
    assert error.count("\n") == 1
    assert "is no readable bundle" in error
