"""The docks use the model that the project uses, and say how far its index is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.loops import Loop
from fixtures.models import MakeModel
from napari_neurobridge.matching.appearance.shards import gallery_folder
from napari_neurobridge.models.current import current_model
from napari_neurobridge.project.folder import Project
from napari_neurobridge.workbench.checklist import Step
from napari_neurobridge.workbench.models import EncoderCache
from napari_neurobridge.workbench.workbench import Workbench
from napari_neurobridge.workflows.adopt import adopt_model
from napari_neurobridge.workflows.index import build_index


@pytest.fixture
def folder(real_model_project: Project, make_model: MakeModel) -> Path:
    """A project that has adopted the first of its two models, and is indexed for it."""
    for seed, name in enumerate(("v1-full", "v2-full")):
        make_model(real_model_project.models_dir / name, seed=seed)
    adopt_model(real_model_project, "v1-full")
    build_index(real_model_project)
    return real_model_project.path


@pytest.fixture
def workbench(loop: Loop, folder: Path) -> Iterator[Workbench]:
    workbench = Workbench(loop, annotator="me")
    workbench.session.set_project(Project.open(folder))
    loop.run_until(lambda: workbench.setup.index_state is not None)
    yield workbench
    workbench.close()


def index_line(workbench: Workbench) -> str:
    return next(item.detail for item in workbench.setup.checklist() if item.step is Step.INDEX)


def ranked_with(workbench: Workbench, loop: Loop) -> str:
    project = workbench.project
    assert project is not None
    uid = sorted(project.state().somata["two_photon"])[0]
    workbench.questions.select("two_photon", uid)
    loop.run_until(
        lambda: workbench.questions.answer is not None or bool(workbench.questions.problem)
    )
    assert not workbench.questions.problem
    return workbench.questions.answer.ranking.model


def test_adopting_indexes_in_the_background_and_then_ranks_with_it(
    workbench: Workbench, loop: Loop
) -> None:
    project = workbench.project
    assert project is not None
    one = current_model(project)
    assert index_line(workbench) == "28 of 28 somata embedded with v1-full"
    assert ranked_with(workbench, loop) == one.label

    workbench.setup.adopt_model("v2-full")
    two = current_model(project)
    assert two.name == "v2-full"
    loop.run_until(
        lambda: (
            workbench.setup.index_state.model == "v2-full" and workbench.setup.index_state.complete
        )
    )
    assert index_line(workbench) == "28 of 28 somata embedded with v2-full"
    assert ranked_with(workbench, loop) == two.label

    workbench.setup.roll_back_model()
    assert current_model(project).hash == one.hash
    assert ranked_with(workbench, loop) == one.label


def test_a_key_press_does_not_take_an_adoption_back(workbench: Workbench) -> None:
    project = workbench.project
    assert project is not None
    adopt_model(project, "v2-full", annotator="me")
    workbench.verdicts.undo()
    assert current_model(project).name == "v2-full"


def test_the_docks_say_how_many_cells_are_to_be_indexed_and_what_ranks_meanwhile(
    workbench: Workbench, loop: Loop, folder: Path
) -> None:
    other = Project.open(folder)
    adopt_model(other, "v2-full")  # by somebody else's command
    other.close()
    workbench.setup.refresh()
    loop.run_until(lambda: workbench.setup.index_state.model == "v2-full")
    assert index_line(workbench) == (
        "0 of 28 somata embedded with v2-full; 28 cells to index; rankings use v1-full until then"
    )
    assert ranked_with(workbench, loop).startswith("v1-full@")


def test_the_docks_say_that_a_model_is_gone(workbench: Workbench, loop: Loop, folder: Path) -> None:
    adopt_model(workbench.project, "v2-full")
    shutil.rmtree(folder / "models" / "v2-full")
    workbench.setup.refresh()
    loop.run_until(lambda: bool(workbench.setup.index_state.note))
    assert "'v2-full', adopted on" in index_line(workbench)
    assert "'v1-full' is used instead." in index_line(workbench)


def test_the_docks_say_that_files_of_the_index_are_damaged(folder: Path) -> None:
    project = Project.open(folder)
    model = current_model(project)
    (shard,) = gallery_folder(project, model, "fmost").glob("*.npy")
    shard.write_bytes(shard.read_bytes()[:200])
    state = EncoderCache().index_state(project)
    assert (state.n_embedded, state.n_damaged, state.complete) == (14, 1, False)
    assert "damaged files of the index were left out" in state.in_words()
    project.close()


def test_a_model_is_loaded_once(folder: Path) -> None:
    project, cache = Project.open(folder), EncoderCache()
    assert cache.current(project) is cache.ranking(project)
    assert cache.current(project).hash == current_model(project).hash
    assert cache.current(None).name == current_model().name
    project.close()
