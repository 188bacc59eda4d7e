"""``models`` and ``adopt``, and that every command uses the project's model."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from fixtures.fingerprints import imprint
from fixtures.models import MakeModel
from napari_neurobridge.cli import main
from napari_neurobridge.project.folder import Project


def call(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def answer(*arguments: object) -> dict[str, Any]:
    code, out, err = call(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def refusal(*arguments: object) -> str:
    code, out, err = call(*arguments)
    assert (code, out) == (2, ""), err
    (line,) = err.splitlines()
    return line


@pytest.fixture
def folder(real_model_project: Project, make_model: MakeModel) -> Path:
    """A project with two models of its own."""
    for seed, name in enumerate(("v1-full", "v2-full")):
        make_model(real_model_project.models_dir / name, seed=seed)
    return real_model_project.path


def rows(*arguments: object) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in answer("models", *arguments)["models"]}


def test_models_says_what_each_is_and_which_is_used(folder: Path) -> None:
    found = rows(folder)
    assert [name for name, row in found.items() if row["current"]] == ["compact"]
    assert found["compact"]["calibrated"]
    assert found["compact"]["checksums"]
    assert found["constellation"]["kind"] == "constellation"
    assert not found["v1-full"]["calibrated"]
    adopted = answer("adopt", folder, "v1-full")
    assert adopted == {"model": adopted["model"], "name": "v1-full", "n_to_index": 28}
    found = rows(folder)
    assert [name for name, row in found.items() if row["current"]] == ["v1-full"]
    assert found["v1-full"]["adopted"].startswith("20")
    assert answer("models", folder)["current"] == adopted["model"]
    _, out, _ = call("models", folder)
    assert "v1-full" in out


def test_models_names_what_is_damaged_or_unchecked_and_lists_the_rest(folder: Path) -> None:
    one, two = (folder / "models" / name for name in ("v1-full", "v2-full"))
    (one / "SHA256SUMS").unlink()
    weights = two / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    listed = answer("models", folder)
    found = {row["name"]: row for row in listed["models"]}
    assert (found["v1-full"]["checksums"], found["v2-full"]["hash"]) == (False, None)
    (note,) = listed["notes"]
    assert "v2-full/weights.safetensors is damaged" in note
    assert "constellation" in found


def test_every_command_uses_what_was_adopted(folder: Path) -> None:
    label = answer("adopt", folder, "v1-full")["model"]
    indexed = answer("index", folder)
    assert (indexed["model"], indexed["n_embedded"], indexed["note"]) == (label, 28, "")
    uid = sorted(Project.open(folder).state().somata["two_photon"])[0]
    assert answer("rank", folder, "--uid", uid)["model"] == label
    newer = answer("adopt", folder, "v2-full")["model"]
    ranked = answer("rank", folder, "--uid", uid)
    assert ranked["model"] == label
    assert f"28 of 28 somata are not indexed for the current model {newer} yet" in ranked["note"]
    assert answer("index", folder)["model"] == newer
    assert answer("rank", folder, "--uid", uid)["model"] == newer
    fmost = sorted(Project.open(folder).state().somata["fmost"])[0]
    answer("annotate", folder, "--accept", uid, fmost)
    assert answer("evaluate", folder)["model"] == newer
    assert answer("adopt", folder, "--roll-back")["model"] == label
    assert answer("rank", folder, "--uid", uid, "--model", "v2-full")["model"] == newer


def test_a_model_that_is_gone_is_one_sentence_and_the_work_goes_on(folder: Path) -> None:
    older = answer("adopt", folder, "v1-full")["model"]
    answer("adopt", folder, "v2-full")
    shutil.rmtree(folder / "models" / "v2-full")
    indexed = answer("index", folder)
    assert indexed["model"] == older
    assert indexed["note"].count("'v2-full', adopted on") == 1
    assert answer("models", folder)["notes"] == [indexed["note"]]
    assert len(Project.open(folder).state().adoptions) == 2


def test_wrong_use_is_one_line(folder: Path) -> None:
    assert "Give either a MODEL or --roll-back" in refusal("adopt", folder)
    assert "Give either a MODEL or --roll-back" in refusal("adopt", folder, "x", "--roll-back")
    assert "There is no model 'x'; models found: " in refusal("adopt", folder, "x")
    assert "could return from" in refusal("adopt", folder, "--roll-back")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda model: (model / "weights.safetensors").unlink(), "There is no model 'v1-full'"),
        (lambda model: flip(model / "weights.safetensors"), "is damaged or was changed"),
        (lambda model: rewrite(model, "schema_version = 1", "schema_version = 2"), "newer version"),
        (lambda model: rewrite(model, "dim = 32", "dim = 1000000000"), "dim: Input should be less"),
    ],
    ids=["no weights", "flipped byte", "newer schema", "1e9 dimensions"],
)
def test_a_bad_folder_is_one_line(folder: Path, harm: Any, words: str) -> None:
    harm(folder / "models" / "v1-full")
    assert words in refusal("index", folder, "--model", "v1-full")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 4
    path.write_bytes(bytes(content))


def rewrite(model: Path, old: str, new: str) -> None:
    (model / "SHA256SUMS").unlink()
    config = model / "config.toml"
    text = config.read_text(encoding="utf-8")
    assert old in text
    config.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_models_are_ranked_for_a_project(folder: Path) -> None:
    project = Project.open(folder)
    imprint(project.models_dir / "v1-full", project, flipped=True)
    imprint(project.models_dir / "v2-full", project)
    listed = answer("models", "--for", folder)
    found = {row["name"]: row for row in listed["models"]}
    order = [row["name"] for row in listed["models"] if row["mmd2"] is not None]
    assert order == [row["name"] for row in listed["models"]][: len(order)]
    assert order.index("v2-full") < order.index("v1-full")
    assert [found[name]["mmd2"] for name in order] == sorted(found[n]["mmd2"] for n in order)
    sides = found["v1-full"]["mmd2_sides"]
    mean = (sides["two_photon"]["mmd2"] + sides["fmost"]["mmd2"]) / 2
    assert found["v1-full"]["mmd2"] == pytest.approx(mean)
    assert {row["mmd2"] for row in listed["models"] if row["kind"] != "encoder"} == {None}
    said = listed["notes"][-1]
    farther = found[order[1]]["mmd2"] - found[order[0]]["mmd2"]
    assert said.startswith(f"Nearest to the project is '{order[0]}', with an MMD² of ")
    assert said.endswith(f"'{order[1]}' is farther by {farther:.3f}.")
    _, out, _ = call("models", "--for", folder)
    assert "mmd2" in out
    assert all(row["mmd2"] is None for row in answer("models", folder)["models"])
    assert "There is no project" in refusal("models", "--for", folder / "nowhere")
