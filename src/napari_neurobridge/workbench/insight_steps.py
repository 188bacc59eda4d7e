"""What the Insight dock shows, worked out in small steps.

The generators run in worker threads and import torch there; see `models`. Each step takes
about a second: between two of them a ranking may slip in, progress is shown, and
cancelling is no more than not asking for the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from napari_neurobridge.insight.evaluation import (
    Evaluation,
    Progress,
    check_enough,
    evaluate_in_steps,
)
from napari_neurobridge.workflows.pair_crops import accepted_somata, crop_pairs_in_steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.insight.attention import AttentionMaps
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.models_fold import Adoption
    from napari_neurobridge.spaces import Orientation
    from napari_neurobridge.types import Float32Array, Soma, Vec3
    from napari_neurobridge.workbench.answers import Query
    from napari_neurobridge.workbench.snapshot import PickedSoma, QuestionSnapshot


@dataclass(frozen=True, slots=True)
class Subject:
    """What is evaluated; another subject asks for another evaluation.

    Attributes
    ----------
    pairs : tuple of (Soma, Soma)
        Two-photon and fMOST soma of the undisputed pairs, ordered by uid.
    orientation : Orientation
        How the fMOST crops lie in the two-photon frame.
    adoptions : tuple of Adoption
        What decides which model is evaluated.
    """

    pairs: tuple[tuple[Soma, Soma], ...]
    orientation: Orientation
    adoptions: tuple[Adoption, ...]

    @classmethod
    def of_project(cls, project: Project) -> Subject:
        """Return the accepted pairs of the default datasets."""
        return cls(
            pairs=accepted_somata(project),
            orientation=project.dataset(project.ex_vivo()).used_orientation,
            adoptions=project.state().adoptions,
        )


class Channel(StrEnum):
    """One of the encoder's two channels, by its words for a person."""

    LOCAL = "local"
    GLOBAL = "global"


@dataclass(frozen=True, eq=False)
class Attention:
    """Where a model looked when it compared a query with a candidate.

    Attributes
    ----------
    query, candidate_dataset, candidate
        The pair, and where the candidate lies.
    maps : AttentionMaps
        One map of each channel and side, over the crops, and the gates; in an audit without
        the similarity.
    query_crop, candidate_crop : ndarray of float32, shape (pixels, pixels)
    query_held, candidate_held : ndarray, shape (3, 3)
        How either crop was held; see `CropFrame.linears`.
    """

    query: Query
    candidate_dataset: str
    candidate: PickedSoma
    maps: AttentionMaps
    query_crop: Float32Array
    candidate_crop: Float32Array
    query_held: npt.NDArray[np.float64]
    candidate_held: npt.NDArray[np.float64]

    def map_of(self, dataset: str, channel: Channel) -> Float32Array | None:
        """Return a channel's map over the crop of one dataset; None for other datasets."""
        maps = self.maps
        if dataset == self.query.dataset:
            return maps.query_local if channel is Channel.LOCAL else maps.query_global
        if dataset == self.candidate_dataset:
            return maps.candidate_local if channel is Channel.LOCAL else maps.candidate_global
        return None

    def center_um_of(self, dataset: str) -> Vec3:
        """Return where the crop of a dataset lies, µm in its own space."""
        return self.query.center_um if dataset == self.query.dataset else self.candidate.center_um

    def held_of(self, dataset: str) -> npt.NDArray[np.float64]:
        """Return how the crop of a dataset was held, (3, 3)."""
        return self.query_held if dataset == self.query.dataset else self.candidate_held


def evaluate_subject_in_steps(
    project: Project, encoder: Encoder, subject: Subject
) -> Iterator[Progress | Evaluation]:
    """Crop pairs, evaluate the model on them, and lay them out by t-SNE.

    Yields
    ------
    Progress or Evaluation
        The evaluation comes last.

    Raises
    ------
    InputError
        If there are fewer than two pairs, or a dataset has no image.
    """
    n = len(subject.pairs)
    check_enough(n)
    for cropped in crop_pairs_in_steps(project, subject.pairs):
        if isinstance(cropped, Progress):
            yield cropped
            continue
        for step in evaluate_in_steps(cropped, encoder):
            if isinstance(step, Evaluation):
                yield Progress(2 * n, 2 * n, "laying out the cells")
                _ = step.map  # computed here, off the main thread
            yield step


def explain_in_steps(
    project: Project, encoder: Encoder, snapshot: QuestionSnapshot
) -> Iterator[Progress | Attention]:
    """Work out where each channel looks when it compares a query with the picked candidate.

    Yields
    ------
    Progress or Attention
        The attention comes last.

    Raises
    ------
    InputError
        If a dataset has no image.
    """
    from napari_neurobridge.insight.attention import attention_maps
    from napari_neurobridge.project.crops import aligned_frame

    query, gallery, candidate = snapshot.query, snapshot.gallery, snapshot.picked
    assert query is not None
    assert candidate is not None
    crops, held = [], []
    for dataset, other, center_um in (
        (query.dataset, gallery, query.center_um),
        (gallery, query.dataset, candidate.center_um),
    ):
        frame = aligned_frame(project, dataset, other)  # as the Match dock shows the two
        crops.append(project.crops(dataset, [center_um], frame)[0])
        held.append(frame.linears([center_um]).reshape(3, 3))
    yield Progress(0, 0, "asking the network where it looks")
    maps = attention_maps(encoder, *crops)
    if snapshot.blind:
        maps = replace(maps, similarity=None)
    yield Attention(query, gallery, candidate, maps, *crops, *held)
