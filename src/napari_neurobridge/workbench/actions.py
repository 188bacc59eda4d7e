"""What a user can do with a project, as functions that the docks and the commands share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tables import read_points
from napari_neurobridge.io.volumes import open_volume
from napari_neurobridge.project import annotate
from napari_neurobridge.project.folder import DatasetSpec, Project, dataset_spec
from napari_neurobridge.project.zoo import find_model
from napari_neurobridge.spaces.orientation import Orientation
from napari_neurobridge.types import Projection, Role, Soma, SomaSource, Vec3, Verdict
from napari_neurobridge.workbench.tables import Judgement, export_tables, read_judgements

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.detection.dog import DogParams
    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.matching.gallery import IndexResult
    from napari_neurobridge.project.events import Event
    from napari_neurobridge.project.fold import State
    from napari_neurobridge.simulation.pair_set import PairSet
    from napari_neurobridge.types import Report

__all__ = [
    "DatasetSource",
    "Judgement",
    "accepted_pairs",
    "add_dataset",
    "create_project",
    "detect",
    "export_tables",
    "import_points",
    "index",
    "judge_all",
    "load_encoder",
    "named_uid",
    "read_judgements",
]


@dataclass(frozen=True)
class DatasetSource:
    """A dataset as a user names it, before a project knows it.

    Attributes
    ----------
    name : str
        Name of the dataset and of its space.
    role : Role
        Which microscope it comes from.
    image : Path or None
        TIFF or OME-Zarr; ``None`` when there are only points.
    points : Path or None
        CSV ``[uid,]z_um,y_um,x_um`` of somata to import.
    voxel_size_um : Vec3 or None
        Overrides what the image says; needed when it says nothing.
    axes : str or None
        Order of the image's axes, when it does not say it.
    channel : int
        Counts from 0.
    projection : Projection
        How a time series becomes one plane.
    orientation : Orientation
        How the dataset lies in the two-photon frame.
    """

    name: str
    role: Role
    image: Path | None = None
    points: Path | None = None
    voxel_size_um: Vec3 | None = None
    axes: str | None = None
    channel: int = 0
    projection: Projection = Projection.MEAN
    orientation: Orientation = field(default_factory=Orientation)

    def to_spec(self) -> DatasetSpec:
        """Return the dataset that a project stores.

        Raises
        ------
        InputError
            If the image cannot be opened as described, or there is neither image nor
            table.
        """
        if self.image is None and self.points is None:
            raise InputError(f"Dataset '{self.name}' needs an image or a table of points.")
        if self.image is not None:
            # Opened once, so that a missing voxel size or channel is told now, not later.
            open_volume(
                self.image,
                name=self.name,
                axes=self.axes,
                voxel_size_um=self.voxel_size_um,
                channel=self.channel,
                projection=self.projection,
            )
        return dataset_spec(
            name=self.name,
            role=self.role,
            uri=None if self.image is None else str(self.image),
            axes=self.axes,
            voxel_size_um=self.voxel_size_um,
            channel=self.channel,
            projection=self.projection,
            orientation=self.orientation,
        )


def create_project(path: Path, sources: Sequence[DatasetSource]) -> Project:
    """Make a project folder, with the somata of all tables of points imported.

    Raises
    ------
    InputError
        If any source cannot be read, or the folder is not free. Nothing is made then.
    """
    specs = [source.to_spec() for source in sources]
    for source in sources:  # before anything is made
        if source.points is not None:
            read_points(source.points)
    project = Project.create(path, specs)
    for source in sources:
        if source.points is not None:
            import_points(project, source.name, source.points)
    return project


def add_dataset(project: Project, source: DatasetSource) -> DatasetSpec:
    """Add a dataset to a project, with the somata of its table of points.

    Raises
    ------
    InputError
        If the source cannot be read, or the name is taken. Nothing is added then.
    """
    spec = source.to_spec()
    if source.points is not None:
        read_points(source.points)
    stored = project.add_dataset(spec)
    if source.points is not None:
        import_points(project, source.name, source.points)
    return stored


def import_points(
    project: Project, dataset: str, path: Path, *, annotator: str | None = None
) -> list[Soma]:
    """Import a CSV of points, µm in the space of ``dataset``, as somata.

    A uid belongs to one soma of the whole project. Where a table counts its cells as
    another dataset's table does, its uids get the dataset's name in front; see `named_uid`.

    Raises
    ------
    InputError
        If the dataset is unknown, the table cannot be read, or a uid is taken.
    """
    project.dataset(dataset)
    uids, centers_um = read_points(path)
    others = {
        u for name, somata in project.state().somata.items() if name != dataset for u in somata
    }
    if others.intersection(uids or ()):
        uids = [f"{dataset}-{uid}" for uid in uids or ()]
    return annotate.add_somata(
        project,
        dataset,
        centers_um,
        source=SomaSource.IMPORTED,
        uids=uids,
        annotator=annotator,
    )


def named_uid(state: State, dataset: str, uid: str) -> str:
    """Return the project's uid of a soma that a person names as their own table does."""
    somata = state.somata.get(dataset, {})
    prefixed = f"{dataset}-{uid}"
    return prefixed if uid not in somata and prefixed in somata else uid


def detect(
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


def load_encoder(project: Project | None, model: str) -> Encoder:
    """Load a model by name or path; a project's own models are found first.

    Raises
    ------
    InputError
        If there is no such model, or it cannot be read.
    """
    folder = find_model(model, project)
    from napari_neurobridge.encoder.embed import Encoder  # torch, seconds

    return Encoder.load(folder)


def index(project: Project, model: str, *, report: Report | None = None) -> IndexResult:
    """Embed all somata of all images that are not in the index of a model yet.

    Raises
    ------
    InputError
        If there is nothing to embed, no such model, or another job holds the project.
    """
    from napari_neurobridge.matching.gallery import index_project

    return index_project(project, load_encoder(project, model), report=report)


def judge_all(
    project: Project,
    judgements: Sequence[Judgement],
    *,
    annotator: str | None = None,
    force: bool = False,
) -> list[Event]:
    """Record verdicts in order, each durable before the next.

    Raises
    ------
    InputError
        If a soma does not live; nothing is recorded then.
    InvalidActionError
        If a verdict contradicts what is recorded and ``force`` is not set; the verdicts
        before it stand.
    """
    state = project.state()
    judgements = [_named(project, state, judgement) for judgement in judgements]
    for judgement in judgements:
        state.living_soma(judgement.query_uid)
        if judgement.candidate_uid is not None:
            state.living_soma(judgement.candidate_uid)
    return [
        event
        for judgement in judgements
        for event in _judge(project, judgement, annotator=annotator, force=force)
    ]


def _named(project: Project, state: State, judgement: Judgement) -> Judgement:
    candidate = judgement.candidate_uid
    return replace(
        judgement,
        query_uid=named_uid(state, project.in_vivo(), judgement.query_uid),
        candidate_uid=candidate and named_uid(state, project.ex_vivo(), candidate),
    )


def _judge(
    project: Project, judgement: Judgement, *, annotator: str | None, force: bool
) -> list[Event]:
    query, candidate = judgement.query_uid, judgement.candidate_uid
    if candidate is None:
        return annotate.none(project, query, judgement.reason, annotator=annotator)
    if judgement.verdict is Verdict.ACCEPT:
        return annotate.accept(project, query, candidate, annotator=annotator, force=force)
    judge = annotate.reject if judgement.verdict is Verdict.REJECT else annotate.unsure
    return judge(project, query, candidate, annotator=annotator)


def accepted_pairs(project: Project, *, report: Report | None = None) -> PairSet:
    """Crop both cells of each undisputed pair of the default datasets.

    All pairs count as one scene; they are in the order of their uids on the two-photon side.

    Raises
    ------
    InputError
        If there is no pair, or a dataset has no image.
    """
    from napari_neurobridge.io.crops import extract_crops
    from napari_neurobridge.simulation.pair_set import PairSet

    datasets = project.dataset(project.in_vivo()), project.dataset(project.ex_vivo())
    state = project.state()
    pairs = sorted(state.pairs_between(*(dataset.name for dataset in datasets)).items())
    if not pairs:
        raise InputError("The project has no accepted pairs yet; accept some with 'annotate'.")
    crops, places = [], []
    for dataset, uids in zip(datasets, zip(*pairs, strict=True), strict=True):
        if dataset.uri is None:
            raise InputError(
                f"'{dataset.name}' has points but no image, so its somata cannot be compared "
                "by appearance."
            )
        centers_um = np.array([state.soma(uid).center_um for uid in uids])
        linear = dataset.orientation.linear()
        places.append(centers_um @ np.linalg.inv(linear).T)
        crops.append(
            extract_crops(project.volume(dataset.name), centers_um, linear=linear, report=report)
        )
    return PairSet(crops[0], crops[1], np.zeros(len(pairs), dtype=np.int64), places[1])
