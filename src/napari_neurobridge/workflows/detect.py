"""Somata found in an image and recorded in the project."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import USUAL_SOMA_DIAMETER_UM, SomaSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    model: str | None = None,
    annotator: str | None = None,
    report: Report | None = None,
) -> int:
    """Detect the somata of a dataset, record them, and return how many live in it.

    Parameters
    ----------
    project : Project
    dataset : str
    params : DogParams or SegmentParams, optional
        By a difference of Gaussians, as is done unless given, or by a segmenter.
    model : str, optional
        Name or path of the segmenter; the bundled one unless given.
    annotator : str, optional
        Who has them detected.
    report : callable, optional
        Called as ``report(done, total, message)``; may raise to cancel.

    Raises
    ------
    InputError
        If the dataset is unknown or has no image, there is no such segmenter, or another job holds
        the project.
    """
    from napari_neurobridge.detection.dog import DogParams

    params = params or DogParams()
    detector = find_detector(project, params, model)
    volume = project.volume(dataset)
    with project.lock():
        detection = detector.find(volume, report)
        annotate.record_detection(
            project,
            dataset,
            detection.centers_um,
            radius_um=detection.radius_um,
            confidence=detection.confidence,
            method=detector.label,
            params={**params.model_dump(mode="json"), **detector.facts},
            annotator=annotator,
        )
    return len(project.state().somata[dataset])


@dataclass(frozen=True)
class Detector:
    """A way to find somata.

    Attributes
    ----------
    label : str
        As the log cites it.
    find : callable
        Takes a volume and a report, and returns a `Detection`.
    facts : dict
        What else the log says of it.
    """

    label: str
    find: Callable[[Volume, Report | None], Detection]
    facts: Mapping[str, str] = field(default_factory=dict)


def find_detector(
    project: Project, params: DogParams | SegmentParams, model: str | None = None
) -> Detector:
    """Return the detector of some settings; of a segmenter the one of a name, or the bundled one.

    Raises
    ------
    InputError
        If there is no such segmenter, or it is damaged.
    """
    from napari_neurobridge.detection.dog import DogParams, detect_somata
    from napari_neurobridge.detection.segment import segment_somata
    from napari_neurobridge.detection.unet import load_segmenter
    from napari_neurobridge.models.current import bundled_model
    from napari_neurobridge.models.model_folder import SEGMENTER, ModelFolder
    from napari_neurobridge.models.zoo import find_model

    if isinstance(params, DogParams):
        return Detector("dog", lambda volume, report: detect_somata(volume, params, report=report))
    folder = bundled_model(SEGMENTER) if model is None else find_model(model, project)
    stored = ModelFolder.open(folder)
    net = load_segmenter(folder)
    return Detector(
        f"{stored.name}@{stored.hash}",
        lambda volume, report: segment_somata(volume, net, params, report=report),
        {"model": folder.name},
    )


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


def last_model(project: Project, dataset: str) -> str | None:
    """Return the segmenter of a dataset's last detection run; None if it was none, or none ran."""
    known = project.state().detected_with.get(dataset, {})
    model = known.get("model")
    return str(model) if model is not None else None
