"""Which models a project may use, and which one it uses: a fold of its adoptions.

Every dock, command and benchmark asks here; none names a model of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.model_folder import (
    CONSTELLATION,
    ENCODER,
    FEATURE_NET,
    SEGMENTER,
    SEMANTIC_MATCHER,
    SOMA_PAIR_NET,
    ModelFolder,
)
from napari_neurobridge.models.zoo import (
    DEFAULT_FEATURES,
    DEFAULT_MATCHER,
    DEFAULT_MODEL,
    DEFAULT_SEGMENTER,
    DEFAULT_SEMANTIC_MATCHER,
    DEFAULT_SOMA_PAIRS,
    DEFAULT_VERIFIERS,
    find_model,
)

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.models_fold import Adoption

_BUNDLED = {
    ENCODER: DEFAULT_MODEL,
    CONSTELLATION: DEFAULT_MATCHER,
    FEATURE_NET: DEFAULT_FEATURES,
    SOMA_PAIR_NET: DEFAULT_SOMA_PAIRS,
    SEGMENTER: DEFAULT_SEGMENTER,
    SEMANTIC_MATCHER: DEFAULT_SEMANTIC_MATCHER,
}


@dataclass(frozen=True)
class UsableModel:
    """An encoder that a project has adopted, or the bundled one.

    Attributes
    ----------
    name : str
        Of its folder, to find it by.
    path : Path
    label : str
        Name and hash, as results cite it.
    hash : str
        First 12 hex digits of the SHA-256 of its weights.
    dim : int or None
        Length of the vectors that it makes, where the configuration says so.
    adopted : Adoption or None
        ``None`` for the bundled one, where nobody has adopted it.
    note : str
        Why a model that was adopted later is not used, in a sentence; empty if there is none.
    """

    name: str
    path: Path
    label: str
    hash: str
    dim: int | None
    adopted: Adoption | None = None
    note: str = ""


def bundled_model(kind: str = ENCODER) -> Path:
    """Return the folder of the bundled model of a kind."""
    return find_model(_BUNDLED[kind])


def bundled_verifier(dims: int) -> Path:
    """Return the folder of the bundled geometric consistency module of 2 or 3 dimensions.

    Raises
    ------
    InputError
        If there is none.
    """
    return find_model(DEFAULT_VERIFIERS[dims])


def current_model(project: Project | None = None) -> UsableModel:
    """Return the encoder that a project uses: the one adopted last, or the bundled one.

    An adopted model whose folder is gone or has changed is passed over for the one before;
    ``note`` says so.

    Raises
    ------
    InputError
        If not even the bundled one can be found.
    """
    return usable_models(project)[0]


def usable_models(project: Project | None = None) -> tuple[UsableModel, ...]:
    """Return the encoders that a project may use, the one adopted last first.

    The bundled one comes last, unless it was adopted in between. Older ones are what rankings
    rest on until the index of the newest is complete.
    """
    found: list[UsableModel] = []
    reason = ""
    adoptions = () if project is None else project.state().adoptions
    for adoption in reversed(adoptions):
        if adoption.model_kind != ENCODER:
            continue
        try:
            found.append(_adopted(project, adoption))
        except InputError as error:
            if not found:
                reason = reason or str(error)
    found.append(_usable(DEFAULT_MODEL, bundled_model()))
    if reason:
        found[0] = replace(found[0], note=f"{reason} '{found[0].name}' is used instead.")
    latest = {model.hash: row for row, model in reversed(list(enumerate(found)))}
    return tuple(model for row, model in enumerate(found) if latest[model.hash] == row)


def _adopted(project: Project | None, adoption: Adoption) -> UsableModel:
    what = f"The model '{adoption.model}', adopted on {adoption.time[:10]},"
    try:
        model = _usable(adoption.model, find_model(adoption.model, project))
    except InputError as error:
        raise InputError(f"{what} is gone or damaged.") from error
    if model.hash != adoption.weights_hash:
        raise InputError(f"{what} has other weights now than it had then.")
    return replace(model, adopted=adoption)


def _usable(name: str, path: Path) -> UsableModel:
    folder = ModelFolder.open(path)
    folder.require_kind(ENCODER)
    return UsableModel(name, path, f"{folder.name}@{folder.hash}", folder.hash, folder.dim)
