"""What the Insight dock shows, worked out in small steps.

The generators run in worker threads and import torch there; see `models`. Each step takes
about a second: between two of them a ranking may slip in, progress is shown, and
cancelling is no more than not asking for the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import ErrorKind, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.insight.attention import AttentionMaps
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.spaces import Orientation
    from napari_neurobridge.training.evaluation import EvaluationReport
    from napari_neurobridge.types import Float32Array, FloatArray, Soma, Vec3
    from napari_neurobridge.workbench.answers import Query
    from napari_neurobridge.workbench.snapshot import PickedSoma, QuestionSnapshot

MIN_PAIRS = 2
"""With one pair there is no wrong combination to compare it with."""

_BATCH = 16


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a piece of work stands; ``total`` is 0 while it is unknown."""

    done: int
    total: int
    message: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What is evaluated; another subject asks for another evaluation.

    Attributes
    ----------
    pairs : tuple of (Soma, Soma)
        Two-photon and fMOST soma of the undisputed pairs, ordered by uid.
    orientation : Orientation
        How the fMOST crops lie in the two-photon frame.
    """

    pairs: tuple[tuple[Soma, Soma], ...]
    orientation: Orientation

    @classmethod
    def of_project(cls, project: Project) -> Subject:
        """Return the accepted pairs of the default datasets."""
        state = project.state()
        uids = state.pairs_between(project.in_vivo(), project.ex_vivo())
        return cls(
            pairs=tuple(
                (state.soma(one), state.soma(other)) for one, other in sorted(uids.items())
            ),
            orientation=project.dataset(project.ex_vivo()).used_orientation,
        )


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well a model finds the accepted pairs of a project again.

    Attributes
    ----------
    subject : Subject
        The pairs, and how they were cropped; every array below has their order.
    model : str
        Name of the model.
    report : EvaluationReport
        The figures of the papers' protocol.
    similarity : mapping of str to ndarray, shape (N, N)
        Row i compares the two-photon crop of pair i with all fMOST crops; the model's
        own first, then the plain measures that were asked for.
    two_photon_map, fmost_map : ndarray, shape (N, 2)
        Where t-SNE puts the crops of both sides.
    pairs : PairSet
        The crops.
    """

    subject: Subject
    model: str
    report: EvaluationReport
    similarity: Mapping[str, Float32Array]
    two_photon_map: FloatArray
    fmost_map: FloatArray
    pairs: PairSet

    def __len__(self) -> int:
        return len(self.subject.pairs)

    @property
    def has_plain_measures(self) -> bool:
        """Whether the model was compared with the plain measures."""
        return len(self.similarity) > 1

    def curves(self) -> dict[str, FloatArray]:
        """Return, for each similarity, the share of partners among the first k.

        For k from 1 to N, or to 53 when there are more pairs; see `evaluation.top_k_curve`.
        """
        from napari_neurobridge.training.evaluation import partner_ranks, top_k_curve

        sizes = np.full(len(self), len(self))
        return {
            name: top_k_curve(partner_ranks(matrix), sizes)[: len(self)]
            for name, matrix in self.similarity.items()
        }

    def same_and_different(self) -> dict[str, tuple[Float32Array, Float32Array]]:
        """Return, for each similarity, its values for same (N,) and for different cells."""
        same = np.eye(len(self), dtype=bool)
        return {name: (matrix[same], matrix[~same]) for name, matrix in self.similarity.items()}


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


def evaluate_in_steps(
    project: Project, encoder: Encoder, subject: Subject
) -> Iterator[Progress | Evaluation]:
    """Crop and embed pairs, evaluate the model on them, and lay them out by t-SNE.

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
    if n < MIN_PAIRS:
        raise InputError(
            f"An evaluation needs at least {MIN_PAIRS} accepted pairs, not {n}.",
            kind=ErrorKind.TOO_FEW_PAIRS,
        )
    from napari_neurobridge.insight.embedding_map import embedding_map
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.training.evaluation import evaluate_similarity
    from napari_neurobridge.training.protocol import reference_similarity

    crops, vectors = [], []
    for side, dataset in enumerate((project.in_vivo(), project.ex_vivo())):
        parts = []
        for start in range(0, n, _BATCH):
            centers = [pair[side].center_um for pair in subject.pairs[start : start + _BATCH]]
            parts.append(project.crops(dataset, centers))
            yield Progress(side * n + start, 2 * n, f"cropping {dataset}")
        crops.append(np.concatenate(parts))
    for side, stack in enumerate(crops):
        parts = []
        for start in range(0, n, _BATCH):
            parts.append(encoder.embed(stack[start : start + _BATCH]))
            yield Progress(side * n + start + len(parts[-1]), 2 * n, "embedding crops")
        vectors.append(np.concatenate(parts))
    yield Progress(2 * n, 2 * n, "laying out the cells")
    first, second = vectors
    two_photon_map, fmost_map = embedding_map(first, second)
    pairs = PairSet(crops[0], crops[1], scene=np.zeros(n, dtype=np.int64))
    similarity = first @ second.T
    reference = reference_similarity(pairs)
    yield Evaluation(
        subject=subject,
        model=encoder.name,
        report=evaluate_similarity(similarity, pairs.scene, reference=reference),
        similarity={encoder.name: similarity},
        two_photon_map=two_photon_map,
        fmost_map=fmost_map,
        pairs=pairs,
    )


def compare_in_steps(evaluation: Evaluation) -> Iterator[Progress | Evaluation]:
    """Compare the evaluated pairs by the plain measures, too; see `PlainMeasure`.

    Yields
    ------
    Progress or Evaluation
        The evaluation, with a similarity for each measure, comes last.
    """
    from napari_neurobridge.training.plain_measures import PlainMeasure, plain_similarity

    similarity = dict(evaluation.similarity)
    measures = list(PlainMeasure)
    for position, measure in enumerate(measures):
        rows: list[npt.NDArray[np.float32]] = []
        for crop in evaluation.pairs.two_photon:
            yield Progress(
                position * len(evaluation) + len(rows),
                len(measures) * len(evaluation),
                f"comparing by {measure.value}",
            )
            rows.append(plain_similarity(measure, crop[None], evaluation.pairs.fmost))
        similarity[measure.value] = np.concatenate(rows)
    yield replace(evaluation, similarity=similarity)


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
