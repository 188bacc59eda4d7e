"""Small subsets of matches, most of them neighbours, in which each match is about as often."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from napari_neurobridge.errors import InputError


class SubsetConfig(BaseModel, frozen=True, extra="forbid"):
    """How many subsets are drawn, and from how far apart.

    The matches are dealt out in rounds: a round deals every match once, so that after R rounds
    each is in R subsets, and in at most 2 R where their number is no multiple of ``size``.
    """

    size: int = Field(4, ge=3, le=8, description="K, the matches of a subset.")
    count: int = Field(4096, ge=1, description="Subsets that all rounds together come close to.")
    per_match: int = Field(16, ge=1, description="Subsets that each match is in at least.")
    local: Annotated[float, Field(ge=0, le=1)] = Field(
        0.75, description="Share of the rounds that deal neighbours; the others deal at random."
    )
    neighbourhood: int = Field(
        24, ge=3, description="Neighbouring matches among which a subset of a round is drawn."
    )

    def rounds(self, n_matches: int) -> int:
        """Return how often each match is dealt."""
        return max(self.per_match, self.count // -(-n_matches // self.size))


def draw_subsets(source: Tensor, config: SubsetConfig, generator: torch.Generator) -> Tensor:
    """Draw subsets of matches; the same generator gives the same ones.

    A round of neighbours cuts the source side, turned at random, into cells of
    ``neighbourhood`` matches, and deals each cell at random. Neighbours share nearly one
    similarity where the whole does not; the rounds at random see what a patch of matches
    that is shifted as one hides from its neighbours.

    Parameters
    ----------
    source : Tensor, shape (N, D)
        Where the matches lie on the first side.
    config : SubsetConfig
    generator : torch.Generator

    Returns
    -------
    Tensor of int64, shape (S, K)
        Rows of the matches, each row of the result without repetition.

    Raises
    ------
    InputError
        If there are fewer matches than a subset has.
    """
    count, size = len(source), config.size
    if count < size:
        raise InputError(f"Subsets of {size} matches cannot be drawn from {count}.")
    rounds = config.rounds(count)
    near = round(config.local * rounds)
    keys = torch.rand(rounds, count, generator=generator)
    if near:
        keys[:near] += _cells(source.float(), near, config.neighbourhood, generator)
    order = keys.argsort(dim=1)
    # The last subset of a round reaches back where the matches do not divide evenly.
    first = (torch.arange(-(-count // size)) * size).clamp(max=count - size)
    return order[:, first[:, None] + torch.arange(size)].reshape(-1, size)


def _cells(source: Tensor, rounds: int, size: int, generator: torch.Generator) -> Tensor:
    """Return a cell of neighbours for each match, otherwise cut in each round, (R, N)."""
    count, dims = source.shape
    axes = torch.linalg.qr(torch.randn(rounds, dims, dims, generator=generator)).Q
    turned = (source - source.mean(dim=0)) @ axes
    low = turned.amin(dim=1, keepdim=True)
    extent = (turned.amax(dim=1, keepdim=True) - low).clamp(min=1e-6)
    # Below 1, so that a key's whole part stays its group.
    place = (turned - low) / extent * 0.999
    slices = max(1, round((count / size) ** (1 / dims)))
    group = torch.zeros(rounds, count, dtype=torch.long)
    for axis in range(dims):
        rank = (group + place[:, :, axis]).argsort(dim=1).argsort(dim=1)
        group = rank * slices ** (axis + 1) // count
    return group.float()


def mean_over_subsets(values: Tensor, subsets: Tensor, n_matches: int) -> Tensor:
    """Return for each match the mean of its subsets' values, shape (N,).

    Parameters
    ----------
    values : Tensor, shape (S,)
    subsets : Tensor of int64, shape (S, K)
    n_matches : int
        N.
    """
    rows = subsets.reshape(-1)
    total = values.new_zeros(n_matches).index_add(
        0, rows, values[:, None].expand_as(subsets).reshape(-1)
    )
    return total / torch.bincount(rows, minlength=n_matches).clamp(min=1)
