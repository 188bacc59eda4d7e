"""The geometric consistency confidence module: how plausible matches are as a geometry.

Of the paper on semantic matching with geometric verification, section II.C and equation 2: small
subsets of matches are scored from their coordinates alone, and a match has the mean of its
subsets' scores. It differs in the loss: a subset that counts only when all of its K
matches are right gives a true match a mean of ρ to the power K - 1 at an inlier ratio ρ, .10 at
the paper's 46.8 %. Here the mean itself is trained to say whether the match is right.
"""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import BaseModel, Field, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.model_folder import GCCM, ModelFolder
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
_EDGE_FEATURES, _TRIANGLE_FEATURES, _SUBSET_FEATURES = 4, 3, 3


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
    hidden: int = Field(48, gt=0, le=1024, description="Width of all layers.")
    unit_um: Annotated[float, Field(gt=0)] = Field(5.0, description="Length that is called 1.")
    subsets: SubsetConfig = SubsetConfig()
    tau: float = Field(0.5, description="Fixed threshold of the confidence.")
    responses: tuple[InlierResponse, ...] = Field(
        (), description="By rising inlier ratio, measured after training."
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        for name in ("inlier_ratio", "mean"):
            values = [getattr(row, name) for row in self.responses]
            if any(after <= before for before, after in pairwise(values)):
                raise ValueError(f"responses must rise in {name}.")
        return self


class Gccm(nn.Module):
    """Score subsets of matches by how plausible they are as one local geometry.

    A subset is known by the lengths between its matches on both sides, by the triangles of
    these lengths and by the handedness of its simplices. None of that changes when
    either side is moved or turned as a whole, and with the handedness nothing else is lost: so the
    in-plane rotation, which is unknown, need not be learned from examples. Lengths are in
    ``unit_um`` and are not normalised, since 10 µm too many are
    plausible between cells 200 µm apart and not between neighbours; a mirrored subset
    is another one. Sums and maxima over pairs and triangles make the order of the matches
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
        self.edge = nn.Sequential(
            nn.Linear(_EDGE_FEATURES, hidden), nn.ReLU(), nn.Linear(hidden, hidden)
        )
        self.shape = nn.Linear(_TRIANGLE_FEATURES, hidden)
        self.triangle = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.subset = nn.Sequential(
            nn.Linear(2 * hidden + _SUBSET_FEATURES, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def forward(self, source: Tensor, target: Tensor, subsets: Tensor) -> Tensor:
        """Return a logit for each subset, shape (S,).

        Parameters
        ----------
        source, target : Tensor, shape (N, D)
            The two places of each match, µm. Several sets of matches may stand one after
            another, if no subset mixes them.
        subsets : Tensor of int64, shape (S, K)
            Rows of the matches.

        Raises
        ------
        InputError
            If the shapes do not fit.
        """
        self._check(source, target, subsets)
        corners = [side[subsets] / self.config.unit_um for side in (source, target)]
        first, second = (
            torch.linalg.vector_norm(side[:, self.pairs[0]] - side[:, self.pairs[1]], dim=2)
            for side in corners
        )
        edges = self.edge(_edge_features(first, second))
        sides = [edges[:, row] for row in self.triangles]
        shape = self.shape(_triangle_features(first, second, self.triangles))
        described = self.triangle(sides[0] + sides[1] + sides[2] + shape)
        handed = _handedness(corners[0], corners[1], self.simplices)
        whole = torch.stack([handed.mean(dim=1), handed.amin(dim=1), first.mean(dim=1).log1p()], 1)
        pooled = torch.cat([described.mean(dim=1), described.amax(dim=1), whole], dim=1)
        logits: Tensor = self.subset(pooled)[:, 0]
        return logits

    def confidence(self, source: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
        """Draw subsets and return the mean of each match's subsets, C in [0, 1], shape (N,).

        Parameters
        ----------
        source, target : Tensor, shape (N, D)
            µm.
        generator : torch.Generator
            Of the subsets.
        """
        subsets = draw_subsets(source, self.config.subsets, generator)
        logits = self(source, target, subsets)
        return mean_over_subsets(logits.sigmoid(), subsets, len(source))

    def _check(self, source: Tensor, target: Tensor, subsets: Tensor) -> None:
        dims, size = self.config.position_dim, self.config.subsets.size
        if source.shape != target.shape or source.ndim != 2 or source.shape[1] != dims:
            raise InputError(
                f"Matches need two places of {dims} coordinates each, not {tuple(source.shape)} "
                f"and {tuple(target.shape)}."
            )
        if subsets.ndim != 2 or subsets.shape[1] != size:
            raise InputError(f"Subsets must hold {size} matches, not {tuple(subsets.shape)}.")


def _edge_features(first: Tensor, second: Tensor) -> Tensor:
    """Describe the lengths (S, P) between two matches on either side, (S, P, 4)."""
    ratio = (second + _LEAST) / (first + _LEAST)
    scale = ratio.median(dim=1, keepdim=True).values
    differences = [second - first, second - scale * first]
    # Lengths span 1 to 1,000 µm: logarithmic beyond the unit, linear below.
    return torch.stack([first.log1p(), second.log1p(), *(d.asinh() for d in differences)], dim=2)


def _triangle_features(first: Tensor, second: Tensor, triangles: Tensor) -> Tensor:
    """Describe how similar the triangles of either side are, (S, T, 3)."""
    sides = [(first[:, row], second[:, row]) for row in triangles]
    power = sum((a * a for a, _ in sides), torch.zeros(())) + _LEAST**2
    scale = (sum((a * b for a, b in sides), torch.zeros(())) + _LEAST**2) / power
    rest = sum(((b - scale * a).square() for a, b in sides), torch.zeros(()))
    return torch.stack([power.sqrt().log1p(), scale.log(), (rest + 1e-8).sqrt().asinh()], dim=2)


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
        return edges[0][..., 0] * edges[1][..., 1] - edges[0][..., 1] * edges[1][..., 0]
    if len(edges) < 3:
        return torch.zeros_like(origin[..., 0])
    return (torch.linalg.cross(edges[0], edges[1]) * edges[2]).sum(dim=2)


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
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    return ModelFolder.create(folder, model.config.model_dump(mode="json"), save(tensors))


def load_gccm(folder: Path) -> Gccm:
    """Read a model folder.

    Raises
    ------
    InputError
        If a file is missing, damaged or of another kind of model, or the two do not fit together.
    """
    stored = ModelFolder.open(folder)
    stored.require_kind(GCCM)
    model = Gccm(stored.config(GccmConfig))
    weights = stored.weights()
    try:
        model.load_state_dict(load_file(weights))
    except (OSError, SafetensorError) as error:
        raise InputError(f"The weights {weights} are damaged.") from error
    except RuntimeError as error:
        raise InputError(f"The weights of {stored.path} do not fit its configuration.") from error
    return model.eval()
