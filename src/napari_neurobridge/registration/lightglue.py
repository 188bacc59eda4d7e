"""LightGlue over points in a plane or in space, with a forward pass that can be trained.

The layers are those of kornia (Lindenberger et al., LightGlue, ICCV 2023). Its own forward
detaches the descriptors and trains the last assignment alone; this one gives the assignment
after every layer, for the loss of section 3.3, and knows positions of any dimension.
`match_adaptively` is for inference alone and stops as early as the paper's does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, cast

import torch
from kornia.feature.lightglue import (
    LearnableFourierPositionalEncoding,
    MatchAssignment,
    TokenConfidence,
    TransformerLayer,
    filter_matches,
)
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from typing import Self


class LightGlueConfig(BaseModel, frozen=True, extra="forbid"):
    """Size of a matcher."""

    descriptor_dim: int = Field(gt=0, description="Length of the descriptors that come in.")
    position_dim: Literal[2, 3] = Field(3, description="Dimensions of the positions.")
    dim: int = Field(96, gt=0, description="Length of the descriptors inside.")
    heads: int = Field(4, gt=0)
    layers: int = Field(5, gt=0)
    frequency: Annotated[float, Field(gt=0)] = Field(
        1.0, description="Standard deviation of the first frequencies, radians per unit length."
    )

    @model_validator(mode="after")
    def _even(self) -> Self:
        if self.dim % (2 * self.heads):
            raise ValueError("dim must be a multiple of twice the heads.")
        return self


@dataclass(frozen=True, eq=False)
class LightGlueOutput:
    """What each layer says of B pairs of N and M points.

    Attributes
    ----------
    log_assignment : tuple of Tensor, each (B, N + 1, M + 1)
        Log probability that i and j are one; the last column and row say "nobody".
    confidence : tuple of pair of Tensor, (B, N) and (B, M)
        How sure each layer but the last is that it says what the last will say.
    """

    log_assignment: tuple[Tensor, ...]
    confidence: tuple[tuple[Tensor, Tensor], ...]


class LightGlue(nn.Module):
    """Self- and cross-attention between two sets of described points.

    Parameters
    ----------
    config : LightGlueConfig
    """

    def __init__(self, config: LightGlueConfig) -> None:
        super().__init__()
        self.config = config
        dim, head = config.dim, config.dim // config.heads
        self.project = nn.Linear(config.descriptor_dim, dim)
        self.encode = LearnableFourierPositionalEncoding(
            config.position_dim, head, head, config.frequency**-0.5
        )
        # kornia's attention switches a kernel off for the whole process.
        flash = torch.backends.cuda.flash_sdp_enabled()  # type: ignore[no-untyped-call]
        self.transformers = nn.ModuleList(
            TransformerLayer(dim, config.heads, flash=False)  # type: ignore[no-untyped-call]
            for _ in range(config.layers)
        )
        torch.backends.cuda.enable_flash_sdp(flash)
        self.assignments = nn.ModuleList(MatchAssignment(dim) for _ in range(config.layers))
        self.confidences = nn.ModuleList(TokenConfidence(dim) for _ in range(config.layers - 1))

    def forward(
        self,
        descriptors: tuple[Tensor, Tensor],
        positions: tuple[Tensor, Tensor],
        *,
        every_layer: bool = True,
    ) -> LightGlueOutput:
        """Match.

        Parameters
        ----------
        descriptors : pair of Tensor, (B, N, descriptor_dim) and (B, M, descriptor_dim)
        positions : pair of Tensor, (B, N, position_dim) and (B, M, position_dim)
            In units in which neighbours are about one apart. Only differences within a side
            matter.
        every_layer : bool
            False gives the last assignment alone, and no confidence.

        Returns
        -------
        LightGlueOutput

        Raises
        ------
        InputError
            If the shapes do not fit.
        """
        self.check(descriptors, positions)
        first, second = (self.project(side) for side in descriptors)
        place0, place1 = (self.encode(side) for side in positions)
        assigned, sure = [], []
        last = self.config.layers - 1
        for number, transformer in enumerate(self.transformers):
            first, second = transformer(first, second, place0, place1)
            if every_layer or number == last:
                assigned.append(self.assignments[number](first, second)[0])
            if every_layer and number < last:
                sure.append(self.confidences[number](first, second))
        return LightGlueOutput(tuple(assigned), tuple(sure))

    def check(self, descriptors: tuple[Tensor, Tensor], positions: tuple[Tensor, Tensor]) -> None:
        """Raise `InputError` unless `forward` takes such descriptors and positions."""
        for side, place in zip(descriptors, positions, strict=True):
            if side.ndim != 3 or side.shape[-1] != self.config.descriptor_dim:
                raise InputError(
                    f"The matcher wants descriptors of length {self.config.descriptor_dim}, "
                    f"not of shape {tuple(side.shape)}."
                )
            if place.shape != (*side.shape[:2], self.config.position_dim):
                raise InputError(
                    f"The matcher wants {self.config.position_dim} coordinates for each "
                    f"descriptor, not {tuple(place.shape)} for {tuple(side.shape)}."
                )


def matching_loss(output: LightGlueOutput, partner: Tensor) -> Tensor:
    """Return the mean over layers of the negative log likelihood of a known assignment.

    Matches count as much as what has no partner (both sides together); see LightGlue, eq. 12.
    To this comes the layers' confidence, which trains nothing but itself (eq. 10).

    Parameters
    ----------
    output : LightGlueOutput
        Of every layer.
    partner : Tensor of int64, shape (B, N)
        Column of each row's partner, or -1.
    """
    truth = _Truth.of(partner, output.log_assignment[0].shape[2] - 1)
    layers = torch.stack([truth.loss(scores) for scores in output.log_assignment]).mean()
    if not output.confidence:
        return layers
    with torch.no_grad():
        final = [side.detach() for side in decided(output.log_assignment[-1])]
    judged = []
    for scores, sure in zip(output.log_assignment, output.confidence, strict=False):
        for said, end, chance in zip(decided(scores), final, sure, strict=True):
            judged.append(nn.functional.binary_cross_entropy(chance, (said == end).float()))
    return layers + torch.stack(judged).mean()


def decided(log_assignment: Tensor) -> tuple[Tensor, Tensor]:
    """Return what is likeliest for each row (B, N) and each column (B, M), -1 for nobody."""
    sides = []
    for scores in (log_assignment[:, :-1], log_assignment[:, :, :-1].transpose(1, 2)):
        nobody = scores.shape[2] - 1
        best = scores.argmax(dim=2)
        sides.append(torch.where(best == nobody, -1, best))
    return sides[0], sides[1]


@dataclass(frozen=True, eq=False)
class AdaptiveMatches:
    """What `match_adaptively` finds in one pair of N and M points.

    Attributes
    ----------
    pairs : Tensor of int64, shape (K, 2)
        Rows of the points that choose each other, the first side's in order.
    probability : Tensor, shape (K,)
        That they are one.
    layers : int
        How many were needed.
    kept : tuple of int
        Points of either side that the last of them still looked at.
    """

    pairs: Tensor
    probability: Tensor
    layers: int
    kept: tuple[int, int]


@torch.inference_mode()
def match_adaptively(
    model: LightGlue,
    descriptors: tuple[Tensor, Tensor],
    positions: tuple[Tensor, Tensor],
    *,
    depth_confidence: float | None = 0.95,
    width_confidence: float | None = 0.99,
) -> AdaptiveMatches:
    """Match one pair with no more layers and points than it takes.

    Parameters
    ----------
    model : LightGlue
        Trained with its confidences, see `matching_loss`.
    descriptors : pair of Tensor, (N, descriptor_dim) and (M, descriptor_dim)
    positions : pair of Tensor, (N, position_dim) and (M, position_dim)
        As `LightGlue.forward` wants them.
    depth_confidence : float, optional
        Stop after the layer at which this part of all points is sure; None for every layer.
    width_confidence : float, optional
        Leave a sure point out of the next layers if it has no partner with at least this
        probability; None to keep all.

    Returns
    -------
    AdaptiveMatches
        With both off, the mutual choices of the last layer.

    Raises
    ------
    InputError
        If the shapes do not fit.

    Notes
    -----
    Lindenberger et al. 2023, "Adaptive depth and width"; for what is sure, see `_sure`.
    """
    model.check(
        (descriptors[0][None], descriptors[1][None]), (positions[0][None], positions[1][None])
    )
    first, second = (_Side.of(model, *side) for side in zip(descriptors, positions, strict=True))
    total, used = len(first) + len(second), 0
    while used < model.config.layers and len(first) and len(second):
        first.tokens, second.tokens = model.transformers[used](
            first.tokens, second.tokens, first.place, second.place
        )
        used += 1
        if used == model.config.layers:
            break
        sure = _sure(model, used - 1, first, second)
        doubtful = sum(int((~side).sum()) for side in sure)
        if depth_confidence is not None and total - doubtful >= depth_confidence * total:
            break
        if width_confidence is not None:
            assignment = cast("MatchAssignment", model.assignments[used - 1])
            for side, known in zip((first, second), sure, strict=True):
                chance = assignment.get_matchability(side.tokens)[0]
                side.keep(~known | (chance > 1 - width_confidence))
    return _mutual(model, first, second, used)


def _sure(model: LightGlue, layer: int, first: _Side, second: _Side) -> tuple[Tensor, Tensor]:
    """Return which points (n,) of either side are sure after layer l of L, counted from 0.

    Their confidence exceeds 0.8 + 0.1 exp(-4 l / L), as in the authors' implementation; the bound
    falls from layer to layer.
    """
    bound = 0.8 + 0.1 * math.exp(-4 * layer / model.config.layers)
    chances = model.confidences[layer](first.tokens, second.tokens)
    return chances[0][0] > bound, chances[1][0] > bound


@dataclass(eq=False)
class _Side:
    """Points of one side that are still looked at: tokens (1, n, dim), their rows (n,)."""

    tokens: Tensor
    place: Tensor
    rows: Tensor

    @classmethod
    def of(cls, model: LightGlue, descriptors: Tensor, positions: Tensor) -> _Side:
        rows = torch.arange(len(descriptors), device=descriptors.device)
        return cls(model.project(descriptors[None]), model.encode(positions[None]), rows)

    def __len__(self) -> int:
        return len(self.rows)

    def keep(self, which: Tensor) -> None:
        """Leave out the points that a mask (n,) does not hold."""
        if not bool(which.all()):
            self.tokens = self.tokens[:, which]
            self.place = self.place[..., which, :]
            self.rows = self.rows[which]


def _mutual(model: LightGlue, first: _Side, second: _Side, layers: int) -> AdaptiveMatches:
    """Return the pairs that choose each other, "nobody" left aside."""
    kept = (len(first), len(second))
    if not all(kept):
        rows = first.rows.new_zeros(0, 2)
        return AdaptiveMatches(rows, first.tokens.new_zeros(0), layers, kept)
    scores = model.assignments[layers - 1](first.tokens, second.tokens)[0]
    chosen, _, chance, _ = filter_matches(scores, -1.0)
    found = (chosen[0] >= 0).nonzero()[:, 0]
    pairs = torch.stack([first.rows[found], second.rows[chosen[0, found]]], dim=1)
    return AdaptiveMatches(pairs, chance[0, found], layers, kept)


@dataclass(frozen=True, eq=False)
class _Truth:
    """The known assignment, as index and masks."""

    column: Tensor
    matched: Tensor
    alone: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, partner: Tensor, n_columns: int) -> _Truth:
        matched = partner >= 0
        column = partner.clamp(min=0)
        taken = torch.zeros(len(partner), n_columns, device=partner.device)
        taken.scatter_add_(1, column, matched.to(taken.dtype))
        return cls(column, matched, (~matched, taken == 0))

    def loss(self, scores: Tensor) -> Tensor:
        """Return the loss of one layer's log assignment."""
        right = scores[:, :-1].gather(2, self.column[..., None])[..., 0]
        found = -_mean(right, self.matched)
        rows = _mean(scores[:, :-1, -1], self.alone[0])
        columns = _mean(scores[:, -1, :-1], self.alone[1])
        return 0.5 * found - 0.25 * (rows + columns)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp(min=1)
