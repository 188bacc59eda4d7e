"""Which model a project uses, by its adoptions and by what is still there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from napari_neurobridge.models.current import bundled_model, current_model, usable_models
from napari_neurobridge.models.model_folder import CONSTELLATION, ModelFolder
from napari_neurobridge.models.zoo import find_model
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log.events import ModelAdopted


def write(project: Project, name: str, weights: bytes) -> ModelFolder:
    config = {"name": name, "dim": 8}
    return ModelFolder.create(project.models_dir / name, config, weights)


def adopt(project: Project, folder: ModelFolder, revokes: tuple[str, ...] = ()) -> str:
    payload = ModelAdopted(
        model=folder.path.name,
        model_kind=folder.kind,
        weights_hash=folder.hash,
        origin="project",
        revokes=revokes,
        software_version="1",
    )
    return project.record("me", lambda _: [payload])[0].id


@pytest.fixture
def two(empty_project: Project) -> tuple[ModelFolder, ModelFolder]:
    """Two models of a project, adopted one after the other."""
    folders = write(empty_project, "v1-full", b"one"), write(empty_project, "v2-full", b"two")
    for folder in folders:
        adopt(empty_project, folder)
    return folders


def names(project: Project | None) -> list[str]:
    return [model.name for model in usable_models(project)]


def test_without_an_adoption_it_is_the_bundled_one(empty_project: Project) -> None:
    assert current_model() == current_model(empty_project)
    bundled = current_model()
    assert (bundled.path, bundled.adopted, bundled.note) == (bundled_model(), None, "")
    assert bundled.hash == ModelFolder.open(find_model(bundled.name)).hash
    assert bundled_model(CONSTELLATION).name == "constellation"


def test_the_last_adoption_counts_and_the_others_wait_behind_it(
    empty_project: Project, two: tuple[ModelFolder, ModelFolder]
) -> None:
    current = current_model(empty_project)
    assert (current.path, current.hash, current.dim) == (two[1].path, two[1].hash, 8)
    assert current.label == f"v2-full@{two[1].hash}"
    assert names(empty_project) == ["v2-full", "v1-full", "compact"]
    adopt(empty_project, two[0])
    assert names(empty_project) == ["v1-full", "v2-full", "compact"]
    # The log says so, and nothing else: another process sees the same.
    other = Project.open(empty_project.path)
    assert names(other) == ["v1-full", "v2-full", "compact"]
    other.close()


def test_a_model_whose_folder_is_gone_is_passed_over_in_one_sentence_each(
    empty_project: Project, two: tuple[ModelFolder, ModelFolder]
) -> None:
    shutil.rmtree(two[1].path)
    current = current_model(empty_project)
    assert current.name == "v1-full"
    assert "'v2-full', adopted on 20" in current.note
    assert current.note.endswith("is gone or damaged. 'v1-full' is used instead.")
    shutil.rmtree(two[0].path)
    assert current_model(empty_project).name == "compact"
    assert "'v2-full'" in current_model(empty_project).note
    assert len(empty_project.state().adoptions) == 2  # nothing is lost


@pytest.mark.parametrize("name", ["weights.safetensors", "config.toml"])
def test_a_model_that_was_exchanged_is_passed_over(
    empty_project: Project, two: tuple[ModelFolder, ModelFolder], name: str
) -> None:
    (two[1].path / name).write_bytes(b"others and longer")
    current = current_model(empty_project)
    assert current.name == "v1-full"
    assert "'v2-full', adopted on" in current.note


def test_an_older_gap_is_no_news(
    empty_project: Project, two: tuple[ModelFolder, ModelFolder]
) -> None:
    shutil.rmtree(two[0].path)
    assert current_model(empty_project).note == ""
    assert names(empty_project) == ["v2-full", "compact"]


def test_a_model_of_a_project_never_takes_a_bundled_name(empty_project: Project) -> None:
    impostor = write(empty_project, "compact", b"others")
    assert current_model(empty_project).path == bundled_model()
    assert find_model("compact", empty_project) == bundled_model()
    assert find_model(impostor.path) == impostor.path
    adopt(empty_project, impostor)
    assert current_model(empty_project).path == bundled_model()
    assert "has other weights now" in current_model(empty_project).note


def test_an_old_copy_named_adapted_can_still_be_named(empty_project: Project) -> None:
    old = write(empty_project, "adapted", b"old")
    for name in ("SHA256SUMS",):
        (old.path / name).unlink()
    again = Project.open(empty_project.path)
    assert find_model("adapted", again) == old.path
    assert current_model(again).path == bundled_model()
    again.close()


def test_a_matcher_that_was_adopted_is_no_encoder(empty_project: Project) -> None:
    adopt(empty_project, ModelFolder.open(bundled_model(CONSTELLATION)))
    assert current_model(empty_project).path == bundled_model()
    assert isinstance(bundled_model(), Path)
