"""Small subsets of matches: each judges one match beside companions that are likely right."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from napari_neurobridge.errors import InputError

# Below this weight all companions are equally bad.
_LEAST_WEIGHT = 1e-3


class SubsetConfig(BaseModel, frozen=True, extra="forbid"):
    """How many subsets are drawn, and from how far apart.

    Each round judges every match once, so that after R rounds each has R subsets.
    """

    size: int = Field(4, ge=3, le=8, description="K, the matches of a subset.")
    count: int = Field(4096, ge=1, description="Subsets of all matches together, at most.")
    per_match: int = Field(
        4, ge=1, description="Subsets that judge each match at least, whatever the count."
    )
    local: Annotated[float, Field(ge=0, le=1)] = Field(
        0.75, description="Share of the rounds whose companions are neighbours, not from anywhere."
    )
    neighbourhood: int = Field(
        24, ge=3, description="Matches, about, among which the companions of a round are drawn."
    )

    def rounds(self, n_matches: int) -> int:
        """Return how many subsets judge each match."""
        return max(self.per_match, self.count // n_matches)

    def slices(self, n_matches: int, dims: int) -> int:
        """Return into how many cells a round cuts along each axis."""
        wanted = max(1, round((n_matches / self.neighbourhood) ** (1 / dims)))
        return next(n for n in range(wanted, 0, -1) if n == 1 or n_matches // n**dims >= self.size)


def draw_subsets(
    source: Tensor, weight: Tensor, config: SubsetConfig, generator: torch.Generator
) -> Tensor:
    """Draw subsets of matches; the same generator gives the same ones.

    A round cuts the matches into cells: of neighbours, in a field that is turned at random, or
    of any matches. In each cell K are drawn in proportion to their weight, without
    replacement, and the K - 1 drawn first judge the cell's matches; one of them is judged by the
    others. Were companions drawn regardless of weight, three right ones would hardly ever
    come together where few matches are right.

    Parameters
    ----------
    source : Tensor, shape (N, D)
        Where the matches lie on the first side.
    weight : Tensor, shape (N,)
        How likely each is right, 0 to 1; equal weights draw evenly.
    config : SubsetConfig
    generator : torch.Generator

    Returns
    -------
    Tensor of int64, shape (R N, K)
        Rows of the matches, without repetition within a subset; first the one that is judged,
        round by round in the order of the matches.

    Raises
    ------
    InputError
        If there are fewer matches than a subset has.

    References
    ----------
    Drawing in proportion without replacement: Efraimidis and Spirakis, Information Processing
    Letters 97 (2006).
    """
    count, size = len(source), config.size
    if count < size:
        raise InputError(f"Subsets of {size} matches cannot be drawn from {count}.")
    rounds = config.rounds(count)
    near = round(config.local * rounds)
    slices = config.slices(*source.shape)
    cells = slices ** source.shape[1]
    cell = torch.rand(rounds, count, generator=generator).argsort(dim=1) * cells // count
    if near:
        cell[:near] = _cells(source.float(), near, slices, generator)
    luck = torch.rand(rounds, count, generator=generator).clamp(min=1e-9).log()
    luck = luck / weight.clamp(min=_LEAST_WEIGHT)
    # The luckiest first; they are far fewer than one cell's step apart.
    by_luck = luck.argsort(dim=1, descending=True)
    order = by_luck.gather(1, cell.gather(1, by_luck).argsort(dim=1, stable=True))
    ordered = cell.gather(1, order)
    first = torch.searchsorted(ordered, torch.arange(cells).expand(rounds, -1).contiguous())
    drawn = order.gather(1, (first[:, :, None] + torch.arange(size)).reshape(rounds, -1))
    drawn = drawn.reshape(rounds, cells, size)
    companions = drawn.gather(1, cell[:, :, None].expand(-1, -1, size))
    judged = torch.arange(count).expand(rounds, count)[:, :, None]
    # Whoever is among the drawn himself has the others for companions.
    others = (companions == judged).byte().argsort(dim=2, stable=True)[:, :, : size - 1]
    return torch.cat([judged, companions.gather(2, others)], dim=2).reshape(-1, size)


def _cells(source: Tensor, rounds: int, slices: int, generator: torch.Generator) -> Tensor:
    """Return each match's cell of neighbours, otherwise cut in each round, (R, N)."""
    count, dims = source.shape
    axes = torch.linalg.qr(torch.randn(rounds, dims, dims, generator=generator)).Q
    turned = (source - source.mean(dim=0)) @ axes
    low = turned.amin(dim=1, keepdim=True)
    extent = (turned.amax(dim=1, keepdim=True) - low).clamp(min=1e-6)
    # Below 1, so that a key's whole part stays its group.
    place = (turned - low) / extent * 0.999
    group = torch.zeros(rounds, count, dtype=torch.long)
    for axis in range(dims):
        rank = (group + place[:, :, axis]).argsort(dim=1).argsort(dim=1)
        group = rank * slices ** (axis + 1) // count
    return group


def mean_over_subsets(values: Tensor, subsets: Tensor, n_matches: int) -> Tensor:
    """Return for each match the mean of the values of the subsets that judge it, shape (N,).

    Parameters
    ----------
    values : Tensor, shape (S,)
    subsets : Tensor of int64, shape (S, K)
        Of `draw_subsets`; several draws may stand one after another.
    n_matches : int
        N.
    """
    judged = subsets[:, 0]
    total = values.new_zeros(n_matches).index_add(0, judged, values)
    return total / torch.bincount(judged, minlength=n_matches).clamp(min=1)
