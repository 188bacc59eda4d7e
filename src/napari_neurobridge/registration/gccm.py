"""The geometric consistency confidence module: how plausible matches are as a geometry.

Of the paper on semantic matching with geometric verification, section II.C and equation 2: small
subsets of matches are scored from their coordinates alone, and a match has the mean of its
subsets' scores. It differs in what a subset says: one that counts only when all of its K
matches are right gives a true match a mean of ρ to the power K - 1 at an inlier ratio ρ, .10 at
the paper's 46.8 %. Here a subset judges one match beside companions that are likely right, and the
mean itself is trained to say whether the match is right.
"""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.model_folder import GCCM, ModelFolder
from napari_neurobridge.models.weights import load_network, save_network
from napari_neurobridge.registration.common_frame import LEVELS, CommonFrame, common_frame
from napari_neurobridge.registration.subsets import (
    SubsetConfig,
    draw_subsets,
    mean_over_subsets,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

# Added to lengths that divide, so that two matches at one place do no harm; in units.
_LEAST = 0.05
# Of a length in the order that equal discrepancies are put in.
_TIE = 1e-4


class InlierResponse(BaseModel, frozen=True, extra="forbid"):
    """What the confidences of a set of matches look like at one inlier ratio."""

    inlier_ratio: float = Field(ge=0, le=1, description="ρ, the share of matches that are right.")
    mean: float = Field(ge=0, le=1, description="Mean confidence over all matches.")
    tau: float = Field(description="Confidence at which a match is as likely right as wrong.")
    width: float = Field(gt=0, description="Confidence above tau for which the log odds rise by 1.")


class GccmConfig(BaseModel, frozen=True, extra="forbid"):
    """Size of the module, what it is given, and what its confidences mean."""

    schema_version: Literal[1] = 1
    kind: Literal["gccm"] = "gccm"
    name: str = Field("gccm-2d", max_length=200)
    position_dim: Literal[2, 3] = Field(2, description="Dimensions of the positions.")
    hidden: int = Field(96, gt=0, le=1024, description="Width of all layers.")
    unit_um: Annotated[float, Field(gt=0)] = Field(5.0, description="Length that is called 1.")
    subsets: SubsetConfig = SubsetConfig()
    tau: float = Field(0.5, description="Fixed threshold of the confidence.")
    responses: tuple[InlierResponse, ...] = Field(
        (), description="By rising inlier ratio, measured after training."
    )

    @model_validator(mode="after")
    def _responses_rise(self) -> Self:
        for name in ("inlier_ratio", "mean"):
            values = [getattr(row, name) for row in self.responses]
            if any(after <= before for before, after in pairwise(values)):
                raise ValueError(f"responses must rise in {name}.")
        return self


class Gccm(nn.Module):
    """Score subsets of matches by how plausible they are as one local geometry.

    The affine map that most matches of the whole set share is taken off first (`common_frame`),
    so that neither rotation nor scale need be learned. A subset is then known by the lengths
    between its matches on both sides, by the triangles of these lengths, by the handedness of its
    simplices, by the differences of the vectors between its matches, and by how far its matches
    depart from what most share, at several stiffnesses. Lengths are in ``unit_um`` and are not
    normalised: 10 µm too many are plausible between cells 200 µm apart and not between neighbours.
    Pairs and triangles enter by rising discrepancy, hence the order of the companions is
    irrelevant.

    Parameters
    ----------
    config : GccmConfig
    """

    pairs: Tensor
    triangles: Tensor
    simplices: Tensor

    def __init__(self, config: GccmConfig) -> None:
        super().__init__()
        self.config = config
        size, hidden = config.subsets.size, config.hidden
        pairs = list(combinations(range(size), 2))
        sides = [
            [pairs.index(pair) for pair in combinations(corners, 2)]
            for corners in combinations(range(size), 3)
        ]
        simplices = list(combinations(range(size), min(config.position_dim + 1, size)))
        self.register_buffer("pairs", torch.tensor(pairs).T, persistent=False)
        self.register_buffer("triangles", torch.tensor(sides).T, persistent=False)
        self.register_buffer("simplices", torch.tensor(simplices).T, persistent=False)
        features = 6 * len(pairs) + 4 * len(sides) + len(simplices)
        features += LEVELS * (size + 3)
        self.layers = nn.Sequential(
            nn.Linear(features, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, source: Tensor, frame: CommonFrame, subsets: Tensor) -> Tensor:
        """Return a logit of its first match for each subset, shape (S,).

        Parameters
        ----------
        source : Tensor, shape (N, D)
            Places on the first side, µm.
        frame : CommonFrame
            The matches in what most of them share. Several sets of matches may stand one after
            another (`stacked`), if no subset mixes them.
        subsets : Tensor of int64, shape (S, K)
            Rows of the matches, first the one that is judged.

        Raises
        ------
        InputError
            If the shapes do not fit.
        """
        self._check(source, frame.target_um, subsets)
        corners = [side[subsets] / self.config.unit_um for side in (source, frame.target_um)]
        edges = [side[:, self.pairs[0]] - side[:, self.pairs[1]] for side in corners]
        first, second = (torch.linalg.vector_norm(side, dim=2) for side in edges)
        handed = _handedness(corners[0], corners[1], self.simplices).sort(dim=1).values
        known = [
            *_length_features(first, second),
            *_triangle_features(first, second, self.triangles),
            handed,
            *_vector_features(edges[0], edges[1], first, self.triangles),
            *_shift_features(frame.shifts_um[subsets] / self.config.unit_um),
            frame.agreement[subsets[:, 0]],
        ]
        logits: Tensor = self.layers(torch.cat(known, dim=1))[:, 0]
        return logits

    def confidence(
        self,
        source: Tensor,
        target: Tensor,
        generator: torch.Generator,
        subsets: SubsetConfig | None = None,
    ) -> Tensor:
        """Draw subsets and return the mean of each match's subsets, C in [0, 1], shape (N,).

        Parameters
        ----------
        source, target : Tensor, shape (N, D)
            µm, about the origin.
        generator : torch.Generator
            Of the common frame and the subsets.
        subsets : SubsetConfig, optional
            Other numbers of subsets than the module's own.
        """
        config = self.config.subsets if subsets is None else subsets
        frame = common_frame(source, target, generator)
        rows = draw_subsets(source, frame.weight, config, generator)
        return mean_over_subsets(self(source, frame, rows).sigmoid(), rows, len(source))

    def _check(self, source: Tensor, target: Tensor, subsets: Tensor) -> None:
        dims, size = self.config.position_dim, self.config.subsets.size
        if source.shape != target.shape or source.ndim != 2 or source.shape[1] != dims:
            raise InputError(
                f"Matches need two places of {dims} coordinates each, not {tuple(source.shape)} "
                f"and {tuple(target.shape)}."
            )
        if subsets.ndim != 2 or subsets.shape[1] != size:
            raise InputError(f"Subsets must hold {size} matches, not {tuple(subsets.shape)}.")


def _log_size(values: Tensor) -> Tensor:
    """Return asinh, which PyTorch computes ten times as slowly on a CPU."""
    size = values.abs()
    return (size + (size.square() + 1).sqrt()).log().copysign(values)


def _rising(key: Tensor, length: Tensor, *values: Tensor) -> list[Tensor]:
    """Return lengths and values (S, P) in the order of a key; equal ones by length."""
    order = (key + _TIE * length).argsort(dim=1)
    return [each.gather(1, order) for each in (length, *values)]


def _length_features(first: Tensor, second: Tensor) -> list[Tensor]:
    """Describe the lengths (S, P) between two matches on either side."""
    scale = ((second + _LEAST) / (first + _LEAST)).median(dim=1, keepdim=True).values
    rest = second - scale * first
    length, rest, change = _rising(rest.abs(), first, rest, second - first)
    # Lengths span 1 to 1,000 µm: logarithmic beyond the unit, linear below.
    return [length.log1p(), _log_size(rest), _log_size(change)]


def _triangle_features(first: Tensor, second: Tensor, triangles: Tensor) -> list[Tensor]:
    """Describe how similar the triangles of either side are."""
    ours, theirs = first[:, triangles], second[:, triangles]
    power = ours.square().sum(dim=1) + _LEAST**2
    scale = ((ours * theirs).sum(dim=1) + _LEAST**2) / power
    rest = ((theirs - scale[:, None] * ours).square().sum(dim=1) + 1e-8).sqrt()
    size, rest, scale = _rising(rest, power.sqrt(), rest, scale)
    return [size.log1p(), _log_size(rest), scale.log()]


def _vector_features(
    first: Tensor, second: Tensor, length: Tensor, triangles: Tensor
) -> list[Tensor]:
    """Describe the differences of edges (S, P, D) in one frame."""
    change = second - first
    size = torch.linalg.vector_norm(change, dim=2)
    along = (change * first).sum(dim=2) / (length + _LEAST)
    worst = size[:, triangles].amax(dim=1).sort(dim=1).values
    length, size, along = _rising(size, length, size, along)
    return [length.log1p(), _log_size(size), _log_size(along), _log_size(worst)]


def _shift_features(shifts: Tensor) -> list[Tensor]:
    """Describe how far the matches (S, K, L, D) depart from what most of all share."""
    size = torch.linalg.vector_norm(shifts, dim=3)
    mean = torch.linalg.vector_norm(shifts.mean(dim=1), dim=2)
    return [_log_size(each) for each in (size.sort(dim=1).values.flatten(1), mean, size[:, 0])]


def _handedness(first: Tensor, second: Tensor, simplices: Tensor) -> Tensor:
    """Return by how much simplices have one handedness on both sides, -1 to 1, (S, Q)."""
    sizes = [_oriented(side, simplices) for side in (first, second)]
    product, power = sizes[0] * sizes[1], sizes[0].square() + sizes[1].square()
    return 2 * product / (power + 1.0)


def _oriented(points: Tensor, simplices: Tensor) -> Tensor:
    """Return twice the signed area of triangles, or six times the volume of tetrahedra."""
    origin = points[:, simplices[0]]
    edges = [points[:, row] - origin for row in simplices[1:]]
    if points.shape[2] == 2:
        area: Tensor = edges[0][..., 0] * edges[1][..., 1] - edges[0][..., 1] * edges[1][..., 0]
        return area
    if len(edges) < 3:
        return torch.zeros_like(origin[..., 0])
    volume: Tensor = (torch.linalg.cross(edges[0], edges[1]) * edges[2]).sum(dim=2)
    return volume


def consistency_loss(logits: Tensor, subsets: Tensor, right: Tensor) -> Tensor:
    """Return the binary cross entropy of the per-match means, with whether matches are right.

    Parameters
    ----------
    logits : Tensor, shape (S,)
    subsets : Tensor of int64, shape (S, K)
    right : Tensor of bool, shape (N,)
    """
    mean = mean_over_subsets(logits.sigmoid(), subsets, len(right))
    return nn.functional.binary_cross_entropy(mean.clamp(1e-6, 1 - 1e-6), right.to(mean.dtype))


def save_gccm(model: Gccm, folder: Path) -> ModelFolder:
    """Write configuration and weights as a new model folder.

    Raises
    ------
    InputError
        If the folder holds a model already.
    """
    return save_network(model, model.config, folder, half=False)


def load_gccm(folder: Path) -> Gccm:
    """Read a model folder.

    Raises
    ------
    InputError
        If a file is missing, damaged or of another kind of model, or the two do not fit together.
    """
    return load_network(folder, GCCM, GccmConfig, Gccm)
