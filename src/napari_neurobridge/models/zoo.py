"""Find a model by name: explicit path, then project, user cache, and what is bundled."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_neurobridge.project.folder import Project

DEFAULT_MODEL = "compact"
"""The encoder of a project that has adopted none; ask `models.current` and not this name."""

DEFAULT_MATCHER = "constellation"
DEFAULT_VERIFIERS = {2: "gccm-2d", 3: "gccm-3d"}
"""The geometric consistency modules, by their dimensions."""
DEFAULT_FEATURES = "features-2d"
"""Finds and describes points of images."""
DEFAULT_SOMA_PAIRS = "soma-pairs-2d"
"""Says whether two images show one soma."""
DEFAULT_SEGMENTER = "somata-2d"
"""Says which pixels belong to somata."""
DEFAULT_SEMANTIC_MATCHER = "semantic-2d"
"""Matches two planes by what their keypoints look like."""

CONFIG_FILE, WEIGHTS_FILE = MODEL_FILES = ("config.toml", "weights.safetensors")
CACHE_VARIABLE = "NEUROBRIDGE_MODELS"


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be used.

    Attributes
    ----------
    name : str
        Name of its folder.
    path : Path
        The folder, with config and weights.
    origin : str
        "project", "cache" or "bundled".
    """

    name: str
    path: Path
    origin: str

    @property
    def kind(self) -> str:
        """What it is: an encoder of crops, a constellation matcher, a verifier of matches."""
        try:
            values = tomllib.loads((self.path / CONFIG_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return "damaged"
        return str(values.get("kind", "encoder"))


def find_model(name: str | Path = DEFAULT_MODEL, project: Project | None = None) -> Path:
    """Return the folder of a model.

    Parameters
    ----------
    name : str or Path
        A name to look up, or a path (a `Path`, or text with a separator), which wins.
    project : Project, optional
        Whose own models come before others of the same name, but for those that are bundled:
        the bundled name means the bundled model in every project.

    Returns
    -------
    Path
        Holds ``config.toml`` and ``weights.safetensors``.

    Raises
    ------
    InputError
        If there is none; the message names those that there are.
    """
    if isinstance(name, Path) or "/" in name or os.sep in name:
        return _explicit(Path(name).expanduser())
    entries = list_models(project)
    for entry in entries:
        if entry.name == name:
            return entry.path
    found = ", ".join(f"{entry.name} ({entry.origin})" for entry in entries) or "none"
    raise InputError(f"There is no model '{name}'; models found: {found}.")


def list_models(project: Project | None = None) -> list[ModelEntry]:
    """Return all models, in the order in which names are looked up; one for each name."""
    entries: dict[str, ModelEntry] = {}
    bundled = bundled_names()
    for origin, folder in _places(project):
        for path in _models_in(folder):
            if origin != "project" or path.name not in bundled:
                entries.setdefault(path.name, ModelEntry(path.name, path, origin))
    return list(entries.values())


def bundled_names() -> frozenset[str]:
    """Return the names that no model of a project may take."""
    places = (folder for origin, folder in _places(None) if origin == "bundled")
    return frozenset(path.name for folder in places for path in _models_in(folder))


def _models_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and not _missing_files(path)
    ]


def _explicit(path: Path) -> Path:
    if not path.is_dir():
        raise InputError(f"There is no model folder {path}; check the path.")
    missing = _missing_files(path)
    if missing:
        held = ", ".join(sorted(item.name for item in path.iterdir())) or "nothing"
        raise InputError(
            f"{path} is no model folder: it lacks {' and '.join(missing)}; it holds {held}."
        )
    return path


def _missing_files(path: Path) -> list[str]:
    return [name for name in MODEL_FILES if not (path / name).is_file()]


def _places(project: Project | None) -> Iterator[tuple[str, Path]]:
    if project is not None:
        yield "project", project.models_dir
    if custom := os.environ.get(CACHE_VARIABLE):
        yield "cache", Path(custom).expanduser()
    yield "cache", Path("~/.cache/neurobridge/models").expanduser()
    package = Path(str(resources.files("napari_neurobridge")))
    yield "bundled", package / "models"
    # An editable install has the package in src/ and the models beside that.
    root = package.parent.parent
    if (root / "pyproject.toml").is_file():
        yield "bundled", root / "models"
