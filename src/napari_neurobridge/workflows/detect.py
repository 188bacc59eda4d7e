"""Somata found in an image and recorded in the project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_neurobridge.project.log import annotate

if TYPE_CHECKING:
    from napari_neurobridge.detection.dog import DogParams
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Report


def detect_dataset(
    project: Project,
    dataset: str,
    params: DogParams | None = None,
    *,
    annotator: str | None = None,
    report: Report | None = None,
) -> int:
    """Detect the somata of a dataset, record them, and return how many live in it.

    Raises
    ------
    InputError
        If the dataset is unknown or has no image, or another job holds the project.
    """
    from napari_neurobridge.detection.dog import DogParams, detect_somata

    params = params or DogParams()
    volume = project.volume(dataset)
    with project.lock():
        detection = detect_somata(volume, params, report=report)
        annotate.record_detection(
            project,
            dataset,
            detection.centers_um,
            radius_um=detection.radius_um,
            confidence=detection.confidence,
            method="dog",
            params=params.model_dump(mode="json"),
            annotator=annotator,
        )
    return len(project.state().somata[dataset])
