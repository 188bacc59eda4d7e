"""The trainable part of a retrieval model, and what it says of queries in groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_neurobridge.active.uncertainty import candidate_probabilities, dropout_uncertainty
from napari_neurobridge.encoder.strategies import Strategy, adaptable_copy
from napari_neurobridge.training.head_views import crop_vectors, view_vectors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari_neurobridge.encoder.dual_channel import DualChannelEncoder
    from napari_neurobridge.training.head_views import HeadViews
    from napari_neurobridge.types import Float32Array, FloatArray

IntArray: TypeAlias = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Group:
    """Rows of the queries and of the candidates that belong together."""

    queries: npt.NDArray[np.intp]
    candidates: npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class GroupedPool:
    """Which queries have which candidates.

    Attributes
    ----------
    groups : tuple of Group
    of_query : ndarray of int, shape (N,)
        Place of each query's group.
    """

    groups: tuple[Group, ...]
    of_query: npt.NDArray[np.intp]

    @classmethod
    def of(cls, query_group: IntArray, candidate_group: IntArray) -> Self:
        """Return the groups of queries (N,) and candidates (M,), by the same numbers."""
        names, of_query = np.unique(query_group, return_inverse=True)
        groups = tuple(
            Group(np.flatnonzero(query_group == name), np.flatnonzero(candidate_group == name))
            for name in names
        )
        return cls(groups, of_query)

    def split(self, items: IntArray) -> Iterator[tuple[Group, npt.NDArray[np.intp]]]:
        """Yield each group that some queries (M,) are of, and their places among these."""
        for index, group in enumerate(self.groups):
            places = np.flatnonzero(self.of_query[items] == index)
            if len(places):
                yield group, places

    def best_of_others(
        self, queries: FloatArray, candidates: FloatArray
    ) -> npt.NDArray[np.float64]:
        """Return each query's best similarity with candidates of the next group, (N,).

        Of those as many as it has itself; empty where there is one group alone.
        """
        found: list[float] = []
        for own, other in zip(self.groups, self.groups[1:] + self.groups[:1], strict=True):
            if other is not own:
                rows = other.candidates[: len(own.candidates)]
                found += (queries[own.queries] @ candidates[rows].T).max(axis=1).tolist()
        return np.array(found)


class Retriever(nn.Module):
    """A source's model of which the heads and the gate are trained, and what none is worth.

    Parameters
    ----------
    model : DualChannelEncoder
        Of the source; left as it is.
    number : int
        Which of the sources it is; part of the weights, since their trunks differ.
    """

    source: Tensor

    def __init__(self, model: DualChannelEncoder, number: int) -> None:
        super().__init__()
        self.model = adaptable_copy(model, Strategy.LINEAR)
        self.none = nn.Parameter(torch.tensor(0.0, device=next(model.parameters()).device))
        self.register_buffer("source", torch.tensor(number))
        self.eval()

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of all that training changes, and the number of the source."""
        trained = {name for name, value in self.named_parameters() if value.requires_grad}
        return {
            name: value.detach().clone()
            for name, value in self.state_dict().items()
            if name in trained or name == "source"
        }

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what `weights` gave."""
        self.load_state_dict(weights, strict=False)

    def probabilities(self, queries: Tensor, candidates: Tensor, temperature: float) -> Tensor:
        """Return those of candidates (K, D), then of none, for each query (B, D): (B, K + 1)."""
        shared = candidates[None].expand(len(queries), -1, -1)
        return candidate_probabilities(
            queries, shared, temperature=temperature, none_similarity=float(self.none)
        )


def vectors_of(
    retriever: Retriever, views: tuple[HeadViews, HeadViews]
) -> tuple[Float32Array, Float32Array]:
    """Return the unit vectors of queries (N, D) and candidates (M, D), without dropout."""
    with torch.inference_mode():
        queries, candidates = (crop_vectors(retriever.model, side) for side in views)
    return queries.cpu().numpy(), candidates.cpu().numpy()


def retrieval_uncertainty(
    retriever: Retriever,
    views: tuple[HeadViews, HeadViews],
    pool: GroupedPool,
    items: IntArray,
    *,
    temperature: float,
    passes: int,
    seed: int,
) -> npt.NDArray[np.float64]:
    """Return how unsure the model is of queries ``items``, (M,), in nats.

    Entropy over candidates and none of the mean of passes with dropout. Units are left out of
    queries and candidates alike, and of one candidate the same for all queries of a pass.

    Raises
    ------
    InputError
        If the model has no dropout layer.
    """
    found = np.empty(len(items))
    for number, (group, places) in enumerate(pool.split(items)):
        asked = views[0].take(torch.from_numpy(np.asarray(items)[places]))
        own = views[1].take(torch.from_numpy(group.candidates))

        def predict(rows: slice, asked: HeadViews = asked, own: HeadViews = own) -> Tensor:
            queries = crop_vectors(retriever.model, asked)[rows]
            candidates = crop_vectors(retriever.model, own)
            return retriever.probabilities(queries, candidates, temperature)

        found[places] = dropout_uncertainty(
            retriever.model,
            predict,
            len(places),
            passes=passes,
            batch_size=len(places),
            seed=seed + 7919 * number,
        )
    return found


class CandidateObjective:
    """Cross-entropy of labelled queries over candidates and none; see `training.loop.train`.

    A step takes one group, in one of its symmetric views. A label tells two things: which
    candidate a query's partner is, and which query is that candidate's.

    Parameters
    ----------
    retriever : Retriever
        Trained.
    views : tuple of HeadViews
        Of queries and candidates.
    pool : GroupedPool
    labels : mapping of int to int
        By query, a row of the candidates; negative for none.
    temperature : float
    """

    def __init__(
        self,
        retriever: Retriever,
        views: tuple[HeadViews, HeadViews],
        pool: GroupedPool,
        labels: Mapping[int, int],
        *,
        temperature: float,
    ) -> None:
        self._retriever, self._temperature = retriever, temperature
        rows = np.array(sorted(labels), dtype=np.intp)
        self._groups = []
        self._shares = []
        for group, places in pool.split(rows):
            own = [torch.from_numpy(part) for part in (group.queries, group.candidates)]
            answers = np.array([labels[int(row)] for row in rows[places]])
            # Where each labelled query and its partner are within the group; none comes last.
            asked = np.searchsorted(group.queries, rows[places])
            partner = np.searchsorted(group.candidates, np.maximum(answers, 0))
            partner = np.where(answers < 0, len(group.candidates), partner)
            sides = tuple(side.take(part) for side, part in zip(views, own, strict=True))
            self._groups.append((sides, torch.from_numpy(asked), torch.from_numpy(partner)))
            self._shares.append(len(places))

    def __call__(self, step: int, generator: torch.Generator) -> Tensor:
        """Return the loss of one step."""
        shares = torch.tensor(self._shares, dtype=torch.float64)
        chosen = int(torch.multinomial(shares, 1, generator=generator))
        (queries, candidates), asked, partner = self._groups[chosen]
        view = int(torch.randint(queries.views, (1,), generator=generator))
        model = self._retriever.model
        similarity = view_vectors(model, queries, view) @ view_vectors(model, candidates, view).T
        forward = functional.cross_entropy(self._logits(similarity[asked]), partner)
        known = partner < similarity.shape[1]
        if not known.any():
            return forward
        backward = functional.cross_entropy(
            self._logits(similarity[:, partner[known]].T), asked[known]
        )
        return (forward + backward) / 2

    def _logits(self, similarity: Tensor) -> Tensor:
        none = self._retriever.none.expand(len(similarity), 1)
        return torch.cat([similarity, none], dim=1) / self._temperature
