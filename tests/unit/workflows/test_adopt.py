"""Going over to another model and back, and what rankings rest on meanwhile."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.models import MakeModel
from napari_neurobridge.errors import InputError, InvalidActionError
from napari_neurobridge.matching.appearance import gallery
from napari_neurobridge.matching.appearance.gallery import count_embedded
from napari_neurobridge.models.current import current_model
from napari_neurobridge.models.model_folder import ModelFolder
from napari_neurobridge.project.folder import Project
from napari_neurobridge.workflows.adopt import adopt_model, new_version, roll_back
from napari_neurobridge.workflows.index import build_index, load_encoder, ranking_model
from napari_neurobridge.workflows.match import match_all

PATIENCE_S = 120


@pytest.fixture
def project(real_model_project: Project, make_model: MakeModel) -> Project:
    """With two models of its own, none of which is adopted."""
    for seed, name in enumerate(("v1-full", "v2-full")):
        make_model(real_model_project.models_dir / name, seed=seed)
    return real_model_project


def test_everything_uses_what_was_adopted_and_rolls_back_by_one_event(project: Project) -> None:
    bundled = current_model(project)
    assert load_encoder(project).hash == bundled.hash
    one = adopt_model(project, "v1-full", annotator="me")
    assert (one.name, load_encoder(project).hash) == ("v1-full", one.hash)
    two = adopt_model(project, "v2-full", annotator="me")
    assert current_model(Project.open(project.path)).hash == two.hash != one.hash
    n_events = len(project.log.events())
    assert roll_back(project, annotator="somebody else").hash == one.hash
    assert len(project.log.events()) == n_events + 1
    assert roll_back(project).hash == bundled.hash
    with pytest.raises(InvalidActionError, match="no model that it could return from"):
        roll_back(project)
    assert adopt_model(project, "v2-full").hash == two.hash  # it was kept


def test_adopting_the_current_model_or_no_model_is_refused(
    project: Project, tmp_path: Path
) -> None:
    adopt_model(project, "v1-full")
    with pytest.raises(InvalidActionError, match=r"v1-full@\w+ is the current model already"):
        adopt_model(project, "v1-full")
    with pytest.raises(InputError, match="There is no model 'v9'"):
        adopt_model(project, "v9")
    with pytest.raises(InputError, match="of the kind 'constellation', not 'encoder'"):
        adopt_model(project, "constellation")
    weights = project.models_dir / "v2-full" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(InputError, match="damaged or was changed"):
        adopt_model(project, "v2-full")
    assert current_model(project).name == "v1-full"


def test_a_folder_from_elsewhere_is_copied_under_a_name_that_is_free(
    project: Project, make_model: MakeModel, tmp_path: Path
) -> None:
    elsewhere = make_model(tmp_path / "job" / "v1-full", seed=7)
    current = adopt_model(project, elsewhere)
    assert current.path == project.models_dir / "v1-full-2"
    shutil.rmtree(elsewhere.parent)
    assert load_encoder(project).hash == current.hash
    impostor = make_model(tmp_path / "job" / "compact", seed=8)
    assert adopt_model(project, impostor).path == project.models_dir / "compact-2"


def test_a_roll_back_from_a_model_that_is_gone_settles_for_the_one_in_use(project: Project) -> None:
    adopt_model(project, "v1-full")
    adopt_model(project, "v2-full")
    shutil.rmtree(project.models_dir / "v2-full")
    assert "is gone" in current_model(project).note
    assert roll_back(project).name == "v1-full"
    assert current_model(project).note == ""


def test_version_numbers_are_not_used_again(project: Project) -> None:
    assert new_version(project, "lora-4") == "v3-lora-4"
    adopt_model(project, "v2-full")
    shutil.rmtree(project.models_dir / "v2-full")
    assert new_version(project, "full") == "v3-full"


def test_rankings_rest_on_the_last_complete_index_and_say_so(project: Project) -> None:
    one = adopt_model(project, "v1-full")
    assert ranking_model(project).hash == one.hash  # nothing is indexed, so nothing is older
    build_index(project)
    two = adopt_model(project, "v2-full")
    chosen = ranking_model(project)
    assert chosen.hash == one.hash
    assert chosen.note == (
        f"Ranked with {one.label}: 28 of 28 somata are not indexed for the current model "
        f"{two.label} yet."
    )
    build_index(project)
    assert (ranking_model(project).hash, ranking_model(project).note) == (two.hash, "")


def test_a_soma_that_was_added_since_does_not_bring_an_old_model_back(project: Project) -> None:
    adopt_model(project, "v1-full")
    build_index(project)
    two = adopt_model(project, "v2-full")
    build_index(project)
    from napari_neurobridge.project.log.annotate import add_somata
    from napari_neurobridge.types import SomaSource

    add_somata(project, "fmost", [(30.0, 40.0, 40.0)], source=SomaSource.MANUAL)
    assert ranking_model(project).hash == two.hash


KILLED = """
import os, signal, sys
from napari_neurobridge.matching.appearance import gallery
from napari_neurobridge.project.folder import Project
from napari_neurobridge.workflows.adopt import adopt_model
from napari_neurobridge.workflows.index import build_index

gallery.SHARD_SIZE = 5

def report(done, total, message):
    print(done, flush=True)
    if done >= int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

project = Project.open(sys.argv[1])
adopt_model(project, "v2-full")
print("adopted", flush=True)
if int(sys.argv[2]) < 0:
    os.kill(os.getpid(), signal.SIGKILL)
build_index(project, report=report)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("after", [-1, 10], ids=["before the index", "in the middle of it"])
def test_a_kill_between_adoption_and_index_leaves_rankings_by_the_last_index(
    project: Project, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = adopt_model(project, "v1-full")
    build_index(project)
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(project.path), str(after)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert "adopted" in run.stdout
    again = Project.open(project.path)
    two = current_model(again)
    assert two.name == "v2-full"
    n_embedded = count_embedded(again, two).n_embedded
    assert (n_embedded == 0) == (after < 0)
    assert n_embedded < 28
    assert ranking_model(again).hash == one.hash
    assert build_index(again).n_embedded == 28 - n_embedded  # it goes on
    assert ranking_model(again).hash == two.hash
    again.close()


def test_a_match_says_which_model_told_candidates_apart(project: Project) -> None:
    from napari_neurobridge.project.log.annotate import accept

    one = adopt_model(project, "v1-full")
    build_index(project)
    adopt_model(project, "v2-full")
    uids = [sorted(somata) for somata in project.state().somata.values()]
    for pair in list(zip(*uids, strict=True))[:10]:
        accept(project, *pair)
    found = match_all(project)
    assert found.model == one.label
    assert any("does not say how much its similarities mean" in note for note in found.notes)
    assert gallery.model_label(load_encoder(project, "v1-full")) == one.label
    ModelFolder.open(one.path).verify()
