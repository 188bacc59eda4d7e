from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.zoo import find_model, list_models

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.project import Project


def make_model(folder: Path, *, weights: bool = True) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.toml").touch()
    if weights:
        (folder / "weights.safetensors").touch()
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEUROBRIDGE_MODELS", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_project_comes_before_the_cache(cache: Path, empty_project: Project) -> None:
    cached = make_model(cache / "mine")
    assert find_model("mine", empty_project) == cached
    own = make_model(empty_project.models_dir / "mine")
    assert find_model("mine", empty_project) == own
    assert find_model("mine") == cached
    names = [entry.name for entry in list_models(empty_project)]
    assert names.count("mine") == 1


def test_an_explicit_path_wins(cache: Path, tmp_path: Path) -> None:
    make_model(cache / "mine")
    explicit = make_model(tmp_path / "elsewhere" / "mine")
    assert find_model(explicit) == explicit
    assert find_model(explicit.as_posix()) == explicit


def test_a_folder_that_is_no_model_says_what_it_lacks(tmp_path: Path) -> None:
    half = make_model(tmp_path / "half", weights=False)
    with pytest.raises(InputError, match=r"lacks weights\.safetensors; it holds config\.toml"):
        find_model(half)
    with pytest.raises(InputError, match="no model folder"):
        find_model(tmp_path / "nowhere")


def test_an_unknown_name_lists_what_there_is(cache: Path) -> None:
    make_model(cache / "mine")
    make_model(cache / "half", weights=False)
    with pytest.raises(InputError, match=r"no model 'yours'; models found: .*mine \(cache\)") as e:
        find_model("yours")
    assert "half" not in str(e.value)


def test_shipped_models_are_found_in_package_or_source_tree(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "root" / "src" / "napari_neurobridge"
    package.mkdir(parents=True)
    monkeypatch.setattr("napari_neurobridge.models.zoo.resources.files", lambda name: package)
    in_tree = make_model(tmp_path / "root" / "models" / "shipped-model")
    with pytest.raises(InputError):  # some folder of that name above site-packages
        find_model("shipped-model")
    (tmp_path / "root" / "pyproject.toml").touch()
    assert find_model("shipped-model") == in_tree
    in_wheel = make_model(package / "models" / "shipped-model")
    assert find_model("shipped-model") == in_wheel


def test_the_package_and_the_zoo_are_cheap_to_import() -> None:
    code = (
        "import sys, napari_neurobridge.project, napari_neurobridge.models.zoo;"
        "heavy = {'torch', 'sqlalchemy', 'zarr', 'pydantic'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
