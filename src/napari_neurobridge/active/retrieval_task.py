"""Retrieval as a task of algorithm 1: an item is a query, its label its partner, or none.

NeuroADDA adapts segmenters; here the classes of an item are its own candidates and "none of
them" (`active.uncertainty.candidate_probabilities`). What is trained is the last layer of each
channel, the gate, and the similarity of a candidate that is as probable as none; the trunk is
run once for all rounds (`training.head_views`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, Field

from napari_neurobridge.active.gradients import retrieval_gradients
from napari_neurobridge.active.retrieval_heads import (
    CandidateObjective,
    GroupedPool,
    Retriever,
    retrieval_uncertainty,
    vectors_of,
)
from napari_neurobridge.active.samplers.by_name import SamplerName
from napari_neurobridge.active.samplers.pool import Pool
from napari_neurobridge.active.uncertainty import PASSES
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.errors import InputError
from napari_neurobridge.models.fingerprint import read_fingerprint
from napari_neurobridge.models.model_folder import ModelFolder
from napari_neurobridge.training.comparison import reciprocal_ranks
from napari_neurobridge.training.evaluation import partner_ranks, top_k
from napari_neurobridge.training.head_views import HeadViews, head_views
from napari_neurobridge.training.loop import LoopConfig, train

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_neurobridge.active.adapt import Weights
    from napari_neurobridge.active.samplers.pool import RowArray
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.models.fingerprint import FeatureSample
    from napari_neurobridge.types import Float32Array, FloatArray, Report

_CHECKPOINT_EVERY = 25

NONE = -1
"""The label of a query that has no partner among its candidates."""

IntArray: TypeAlias = npt.NDArray[np.int64]


class RetrievalTaskParams(BaseModel, frozen=True, extra="forbid"):
    """How a query is asked about, and how its label is learned."""

    temperature: float = Field(
        0.07, gt=0, description="What similarities are divided by before the softmax."
    )
    none_similarity: float = Field(
        0.5,
        description="Of a candidate that is as probable as none, before training, where the pool "
        "has one group alone.",
    )
    passes: int = Field(PASSES, ge=1, description="Passes with dropout.")
    learning_rate: float = Field(1e-4, gt=0, description="Of Adam.")


@dataclass(frozen=True, eq=False)
class RetrievalPool:
    """Queries that nobody has answered, and what each is to be found among.

    Attributes
    ----------
    queries, candidates : ndarray of float32, shape (N, P, P) and (M, P, P)
        Two-photon and fMOST crops.
    query_group, candidate_group : ndarray of int, shape (N,) and (M,)
        A query's candidates are those of its group.

    Raises
    ------
    InputError
        If lengths differ, or a query has no candidate.
    """

    queries: Float32Array
    candidates: Float32Array
    query_group: IntArray
    candidate_group: IntArray

    def __post_init__(self) -> None:
        sides = ((self.queries, self.query_group), (self.candidates, self.candidate_group))
        if any(len(crops) != len(group) for crops, group in sides):
            raise InputError("Each query and each candidate of a pool needs a crop and a group.")
        lonely = np.flatnonzero(~np.isin(self.query_group, self.candidate_group))
        if len(lonely):
            raise InputError(f"Query {lonely[0]} of the pool has no candidate.")

    def __len__(self) -> int:
        return len(self.queries)

    def candidates_of(self, query: int) -> IntArray:
        """Return the rows of a query's candidates."""
        return np.flatnonzero(self.candidate_group == self.query_group[query])


class RetrievalTask:
    """An `AdaptationTask` of queries; the label of an item is a row of candidates, or `NONE`.

    Parameters
    ----------
    sources : mapping of str to Path
        Model folders to start from.
    pool : RetrievalPool
    test : PairSet
        What the model is evaluated on, each two-photon crop among the fMOST crops of its scene.
    params : RetrievalTaskParams, optional

    Raises
    ------
    InputError
        If there is no source, or a folder cannot be read.
    """

    def __init__(
        self,
        sources: Mapping[str, Path],
        pool: RetrievalPool,
        test: PairSet,
        params: RetrievalTaskParams | None = None,
    ) -> None:
        if not sources:
            raise InputError("There is no source to start from.")
        self.params = params or RetrievalTaskParams()
        self._folders = {name: ModelFolder.open(path) for name, path in sources.items()}
        self._encoders = {name: Encoder.load(path) for name, path in sources.items()}
        self._pool, self._test = pool, test
        self._grouped = GroupedPool.of(pool.query_group, pool.candidate_group)
        self._seen: dict[str, tuple[HeadViews, HeadViews]] = {}
        self._tested: dict[str, tuple[HeadViews, HeadViews]] = {}

    @property
    def identity(self) -> str:
        """Digest of crops, settings and sources."""
        digest = hashlib.sha256(self.params.model_dump_json().encode())
        test = (self._test.two_photon, self._test.fmost, self._test.scene)
        pool = self._pool
        own = (pool.queries, pool.candidates, pool.query_group, pool.candidate_group)
        for array in (*own, *test):
            digest.update(np.ascontiguousarray(array).tobytes())
        hashes = {name: encoder.hash for name, encoder in self._encoders.items()}
        digest.update(json.dumps(hashes, sort_keys=True).encode())
        return f"retrieval {digest.hexdigest()}"

    def __len__(self) -> int:
        return len(self._pool)

    def fingerprint(self, source: str) -> Mapping[str, FeatureSample]:
        """Return, by side, what a source's trunk makes of a sample of its training crops."""
        return read_fingerprint(self._folders[self._known(source)])

    def pool_features(self, source: str) -> Mapping[str, FloatArray]:
        """Return what a source's trunk makes of queries and candidates."""
        encoder = self._encoders[self._known(source)]
        return {
            "two_photon": encoder.trunk_features(self._pool.queries),
            "fmost": encoder.trunk_features(self._pool.candidates),
        }

    def start(self, source: str | None) -> Weights:
        """Return the weights of a source.

        None is as similar as the best of a query's wrong candidates is in the middle: of each
        query those of another group, which cannot hold its partner.

        Raises
        ------
        InputError
            For ``None``: the trunk stays as it is, and an untrained one is of no use.
        """
        if source is None:
            raise InputError("Retrieval starts from a source, since its trunk is not trained.")
        retriever = self._retriever(self._known(source))
        decoys = self._grouped.best_of_others(*vectors_of(retriever, self._views(source)))
        none = float(np.median(decoys)) if len(decoys) else self.params.none_similarity
        with torch.no_grad():
            retriever.none.fill_(none)
        return retriever.weights()

    def pool(self, weights: Weights, items: RowArray, sampler: SamplerName, *, seed: int) -> Pool:
        """Return some items as the model sees them; features are the queries' vectors.

        Raises
        ------
        InputError
            If the sampler reads uncertainty and the model has no dropout layer.
        """
        retriever, views = self._at(weights)
        uncertainty = np.zeros(len(items))
        if sampler not in (SamplerName.RANDOM, SamplerName.BADGE):
            uncertainty = retrieval_uncertainty(
                retriever,
                views,
                self._grouped,
                items,
                temperature=self.params.temperature,
                passes=self.params.passes,
                seed=seed,
            )
        features = gradients = None
        if sampler is SamplerName.CLUE:
            features = vectors_of(retriever, views)[0][items]
        if sampler is SamplerName.BADGE:
            gradients = self._gradients(retriever, views, items)
        return Pool(uncertainty, features, gradients)

    def train(
        self,
        weights: Weights,
        labels: Mapping[int, int],
        steps: int,
        *,
        seed: int,
        checkpoint: Path | None = None,
        report: Report | None = None,
    ) -> Weights:
        """Return weights after more steps of cross-entropy over candidates and none.

        Raises
        ------
        InputError
            If there is no label, or one names no candidate of its query.
        """
        self._check(labels)
        retriever, views = self._at(weights)
        objective = CandidateObjective(
            retriever, views, self._grouped, labels, temperature=self.params.temperature
        )
        digest = hashlib.sha256(json.dumps(sorted(labels.items())).encode())
        for name in sorted(weights):
            digest.update(weights[name].cpu().numpy().tobytes())
        config = LoopConfig(
            steps=steps,
            optimizer="adam",
            learning_rate=self.params.learning_rate,
            schedule="constant",
            warmup_steps=0,
            weight_decay=0.0,
            seed=seed,
            checkpoint_every=_CHECKPOINT_EVERY,
        )
        identity = f"{self.identity} {digest.hexdigest()}"
        loop = train(retriever, objective, config, checkpoint=checkpoint, identity=identity)
        for state in loop:
            if report is not None:
                report(state.step, state.steps, f"loss {state.loss:.3f}")
        return retriever.weights()

    def evaluate(self, weights: Weights) -> Mapping[str, float]:
        """Return how often a test cell's partner is among the first of its scene.

        "top1", "top5" and "top10", and "mrr", one over its rank, mean of both directions.
        """
        similarity = self.test_similarity(weights)
        scene = self._test.scene
        own = np.where(scene[:, None] == scene[None, :], similarity, -np.inf)
        found = {f"top{k}": share for k, share in top_k(partner_ranks(own)).items()}
        return {**found, "mrr": float(reciprocal_ranks(similarity, scene).mean())}

    def test_similarity(self, weights: Weights) -> Float32Array:
        """Return the similarity of each two-photon with each fMOST crop of the test (N, N)."""
        retriever, _ = self._at(weights)
        source = self._source(weights)
        if source not in self._tested:
            model = self._encoders[source].model
            sides = (self._test.two_photon, self._test.fmost)
            first, second = (head_views(model, side) for side in sides)
            self._tested[source] = first, second
        queries, candidates = vectors_of(retriever, self._tested[source])
        return np.asarray(queries @ candidates.T, dtype=np.float32)

    def probabilities(self, weights: Weights, query: int) -> FloatArray:
        """Return the probabilities of a query's candidates, then of none, without dropout."""
        retriever, views = self._at(weights)
        vectors = vectors_of(retriever, views)
        own = self._pool.candidates_of(query)
        return np.asarray(self._probabilities(retriever, vectors[0][[query]], vectors[1][own])[0])

    def _source(self, weights: Weights) -> str:
        return list(self._encoders)[int(weights["source"])]

    def _retriever(self, source: str) -> Retriever:
        return Retriever(self._encoders[source].model, list(self._encoders).index(source))

    def _probabilities(
        self, retriever: Retriever, queries: Float32Array, candidates: Float32Array
    ) -> FloatArray:
        with torch.inference_mode():
            found = retriever.probabilities(
                torch.from_numpy(queries), torch.from_numpy(candidates), self.params.temperature
            )
        return np.asarray(found.numpy(), dtype=np.float64)

    def _known(self, source: str) -> str:
        if source not in self._encoders:
            raise InputError(
                f"There is no source '{source}'; there are {', '.join(self._encoders)}."
            )
        return source

    def _views(self, source: str) -> tuple[HeadViews, HeadViews]:
        if source not in self._seen:
            model = self._encoders[source].model
            sides = (self._pool.queries, self._pool.candidates)
            first, second = (head_views(model, side, mirrored=True) for side in sides)
            self._seen[source] = first, second
        return self._seen[source]

    def _at(self, weights: Weights) -> tuple[Retriever, tuple[HeadViews, HeadViews]]:
        """Return the model that weights are of, with them, and what its trunk makes of the pool."""
        source = self._source(weights)
        retriever = self._retriever(source)
        retriever.load(weights)
        return retriever, self._views(source)

    def _gradients(
        self, retriever: Retriever, views: tuple[HeadViews, HeadViews], items: RowArray
    ) -> npt.NDArray[np.float64]:
        queries, candidates = vectors_of(retriever, views)
        found = np.empty((len(items), candidates.shape[1]))
        for group, places in self._grouped.split(items):
            own = candidates[group.candidates]
            probability = self._probabilities(retriever, queries[items[places]], own)
            found[places] = retrieval_gradients(
                probability, np.broadcast_to(own, (len(places), *own.shape))
            )
        return found

    def _check(self, labels: Mapping[int, int]) -> None:
        if not labels:
            raise InputError("There is no label to learn from.")
        for query, answer in labels.items():
            if answer != NONE and answer not in self._pool.candidates_of(query):
                raise InputError(
                    f"The label of query {query}, {answer}, is none of its candidates; {NONE} "
                    "stands for none of them."
                )
