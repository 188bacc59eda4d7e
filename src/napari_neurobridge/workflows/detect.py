"""Somata found in an image and recorded in the project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import USUAL_SOMA_DIAMETER_UM, SomaSource

if TYPE_CHECKING:
    from napari_neurobridge.detection.dog import Detection, DogParams
    from napari_neurobridge.detection.segment import SegmentParams
    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Report


def detect_dataset(
    project: Project,
    dataset: str,
    params: DogParams | SegmentParams | None = None,
    *,
    annotator: str | None = None,
    report: Report | None = None,
) -> int:
    """Detect the somata of a dataset, record them, and return how many live in it.

    Parameters
    ----------
    project : Project
    dataset : str
    params : DogParams or SegmentParams, optional
        By a difference of Gaussians, as is done unless given, or by the bundled segmenter.
    annotator : str, optional
        Who has them detected.
    report : callable, optional
        Called as ``report(done, total, message)``; may raise to cancel.

    Raises
    ------
    InputError
        If the dataset is unknown or has no image, or another job holds the project.
    """
    from napari_neurobridge.detection.dog import DogParams

    params = params or DogParams()
    volume = project.volume(dataset)
    with project.lock():
        detection, method = _detected(volume, params, report)
        annotate.record_detection(
            project,
            dataset,
            detection.centers_um,
            radius_um=detection.radius_um,
            confidence=detection.confidence,
            method=method,
            params=params.model_dump(mode="json"),
            annotator=annotator,
        )
    return len(project.state().somata[dataset])


def _detected(
    volume: Volume, params: DogParams | SegmentParams, report: Report | None
) -> tuple[Detection, str]:
    """Return the somata, and what found them, as the log cites it."""
    from napari_neurobridge.detection.dog import DogParams, detect_somata
    from napari_neurobridge.detection.segment import segment_somata
    from napari_neurobridge.detection.unet import load_segmenter
    from napari_neurobridge.models.current import bundled_model
    from napari_neurobridge.models.model_folder import SEGMENTER, ModelFolder

    if isinstance(params, DogParams):
        return detect_somata(volume, params, report=report), "dog"
    folder = bundled_model(SEGMENTER)
    stored = ModelFolder.open(folder)
    found = segment_somata(volume, load_segmenter(folder), params, report=report)
    return found, f"{stored.name}@{stored.hash}"


@dataclass(frozen=True, slots=True)
class DetectionCost:
    """What another detection run puts at stake.

    Attributes
    ----------
    n_replaced : int
        Living somata that detectors found; those that are found again keep their uids.
    n_paired : int
        Those of them that belong to an accepted pair.
    """

    n_replaced: int
    n_paired: int


def detection_cost(project: Project, dataset: str) -> DetectionCost:
    """Return what a detection run in a dataset replaces."""
    state = project.state()
    found = {
        uid for uid, soma in state.somata[dataset].items() if soma.source is SomaSource.DETECTED
    }
    paired = {uid for pair in state.agreed for uid in pair}
    return DetectionCost(len(found), len(found & paired))


def last_diameter_um(project: Project, dataset: str) -> float:
    """Return the soma diameter, µm, of a dataset's last detection run; the usual one if none."""
    known = project.state().detected_with.get(dataset, {})
    return float(known.get("soma_diameter_um", USUAL_SOMA_DIAMETER_UM))
