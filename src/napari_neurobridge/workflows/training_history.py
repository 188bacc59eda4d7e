"""The models of a project with where each came from, and what a training would rest on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_neurobridge.errors import InputError, NeuroBridgeError
from napari_neurobridge.models.current import current_model
from napari_neurobridge.models.model_folder import ENCODER, ModelFolder
from napari_neurobridge.models.training_record import read_training_record
from napari_neurobridge.models.zoo import list_models

if TYPE_CHECKING:
    from napari_neurobridge.models.training_record import TrainingRecord
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.training.splits import Separation


@dataclass(frozen=True)
class TrainedVersion:
    """A model that a project can use, and what is known of how it came about.

    Attributes
    ----------
    name : str
    record : TrainingRecord or None
        ``None`` for one that was not trained in a project.
    adopted : str
        When the project went over to it last, UTC; empty if it does not stand.
    is_current : bool
        Whether the project uses it.
    """

    name: str
    record: TrainingRecord | None
    adopted: str
    is_current: bool


@dataclass(frozen=True)
class TrainingOutlook:
    """What a training of a project would rest on, as far as is known without cropping.

    Attributes
    ----------
    n_train, n_validation, n_test, n_audits, n_rejected, n_left_out : int
        Pairs of each kind; see `plan_training`.
    separation : Separation or None
        What keeps the test pairs apart; ``None`` where nothing can be trained.
    problem : NeuroBridgeError or None
        Why it cannot be trained.
    """

    n_train: int = 0
    n_validation: int = 0
    n_test: int = 0
    n_audits: int = 0
    n_rejected: int = 0
    n_left_out: int = 0
    separation: Separation | None = None
    problem: NeuroBridgeError | None = None


def training_history(project: Project) -> tuple[TrainedVersion, ...]:
    """Return the trained and the adopted encoders of a project, newest training first.

    The bundled model comes last; the lineage is what each record names as its origin.
    """
    current = current_model(project)
    adopted = {a.model: a.time for a in project.state().adoptions if a.model_kind == ENCODER}
    found = []
    for entry in list_models(project):
        record = read_training_record(entry.path) if entry.origin == "project" else None
        if entry.kind != ENCODER or not (
            record or entry.name in adopted or entry.name == current.name
        ):
            continue
        try:
            same = ModelFolder.open(entry.path).hash == current.hash
        except InputError:  # damaged since
            continue
        is_current = same and entry.name == current.name
        found.append(TrainedVersion(entry.name, record, adopted.get(entry.name, ""), is_current))
    return tuple(
        sorted(found, key=lambda one: "" if one.record is None else one.record.date, reverse=True)
    )


def training_outlook(project: Project) -> TrainingOutlook:
    """Return what a training would rest on, or why there is none; crops nothing."""
    from napari_neurobridge.workflows.training_set import plan_training

    try:
        if not project.has_images(project.in_vivo(), project.ex_vivo()):
            raise InputError("Both datasets need an image: models learn from crops.")
        plan = plan_training(project)
    except NeuroBridgeError as error:
        return TrainingOutlook(problem=error)
    split = plan.split
    return TrainingOutlook(
        n_train=len(split.train),
        n_validation=len(split.validation),
        n_test=len(split.test),
        n_audits=len(split.audits),
        n_rejected=len(plan.rejected),
        n_left_out=len(split.left_out),
        separation=split.separation,
    )
