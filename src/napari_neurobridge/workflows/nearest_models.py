"""Ranking the models at hand by how near their training data is to a project's crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.types import DEFAULT_NAMES, Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_neurobridge.active.sources import SourceDistance
    from napari_neurobridge.models.zoo import ModelEntry
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Float32Array, Report

MOST_CROPS = 256
"""Crops of each side, about as many as a fingerprint holds."""


@dataclass(frozen=True, slots=True)
class NearestModels:
    """How far the models' training data is from a project.

    Attributes
    ----------
    distances : mapping of str to SourceDistance
        By the model's name, the nearest first.
    notes : tuple of str
        Why encoders are missing among them, a sentence each.
    n_crops : mapping of str to int
        Of each side, ``two_photon`` and ``fmost``, that was compared.
    """

    distances: Mapping[str, SourceDistance]
    notes: tuple[str, ...]
    n_crops: Mapping[str, int]


def nearest_models(
    project: Project, entries: Sequence[ModelEntry], *, report: Report | None = None
) -> NearestModels:
    """Rank encoders by the MMD² between their fingerprint and a project's crops.

    Every model compares in features of its own network. Of each side with an image, up to
    `MOST_CROPS` somata are drawn at random, always the same; the project is left as it is.

    Parameters
    ----------
    project : Project
    entries : sequence of ModelEntry
        Models of other kinds are passed over.
    report : callable, optional
        Called as ``report(done, total, message)``; it may raise to cancel.

    Raises
    ------
    InputError
        If no side has both an image and two somata.
    """
    from napari_neurobridge.models.model_folder import ENCODER

    encoders = [entry for entry in entries if entry.kind == ENCODER]
    crops = _sample_crops(project, report)
    distances: dict[str, SourceDistance] = {}
    notes: list[str] = []
    for done, entry in enumerate(encoders):
        if report is not None:
            report(done, len(encoders), f"comparing the crops with the data of {entry.name}")
        try:
            distances[entry.name] = _distance(entry, crops)
        except InputError as error:
            notes.append(f"The model '{entry.name}' is not ranked: {error}")
    order = sorted(distances, key=lambda name: distances[name].mmd2)
    return NearestModels(
        {name: distances[name] for name in order},
        tuple(notes),
        {side: len(images) for side, images in crops.items()},
    )


def _distance(entry: ModelEntry, crops: Mapping[str, Float32Array]) -> SourceDistance:
    from napari_neurobridge.active.sources import distance_to_source
    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.models.fingerprint import read_fingerprint
    from napari_neurobridge.models.model_folder import ModelFolder

    fingerprint = read_fingerprint(ModelFolder.open(entry.path))
    if not fingerprint:
        raise InputError("its folder holds no fingerprint of its training data.")
    encoder = Encoder.load(entry.path)
    features = {side: encoder.trunk_features(images) for side, images in crops.items()}
    return distance_to_source(fingerprint, features)


def _sample_crops(project: Project, report: Report | None) -> dict[str, Float32Array]:
    """Return crops (N, P, P) of each side that has any, by the name that fingerprints give it."""
    from napari_neurobridge.project.crops import cut_crops

    found = {}
    for role in Role:
        name = project.in_vivo() if role is Role.IN_VIVO else project.ex_vivo()
        somata = project.state().somata.get(name, {})
        if not project.has_images(name) or len(somata) < 2:
            continue
        chosen = np.random.default_rng(0).permutation(sorted(somata))[:MOST_CROPS]
        centers_um = np.array([somata[uid].center_um for uid in chosen.tolist()])
        found[DEFAULT_NAMES[role]] = cut_crops(project, name, centers_um, report=report)
    if not found:
        raise InputError(
            "The project has no image with at least two somata, whose crops could be compared.",
            kind=ErrorKind.NO_SOMATA,
        )
    return found
