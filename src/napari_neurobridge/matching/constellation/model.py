"""The constellation matcher's network: neighbourhoods as descriptors, LightGlue on top."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.model_folder import CONSTELLATION, ModelFolder
from napari_neurobridge.models.weights import load_network, save_network
from napari_neurobridge.registration.lightglue import LightGlue, LightGlueConfig, LightGlueOutput

if TYPE_CHECKING:
    from pathlib import Path

# Weight of a neighbour by its distance: standard deviation of a Gaussian, in typical spacings.
_NEIGHBOUR_SD = 1.5


class ConstellationConfig(BaseModel, frozen=True, extra="forbid"):
    """Size of the network."""

    schema_version: Literal[1] = 1
    kind: Literal["constellation"] = "constellation"
    name: str = Field("constellation", max_length=200)
    neighbours: int = Field(20, gt=0, le=256, description="Nearest somata that describe one.")
    hidden: int = Field(96, gt=0, le=1024, description="Width of what describes a neighbour.")
    frequencies: int = Field(
        32, gt=0, le=1024, description="Plane waves that places are described by."
    )
    code: int = Field(16, gt=0, le=1024, description="Components of the embeddings that are used.")
    dim: int = Field(96, gt=0, le=1024, description="Width of LightGlue.")
    heads: int = Field(4, gt=0, le=64)
    layers: int = Field(5, gt=0, le=32)

    @property
    def descriptor_dim(self) -> int:
        """Length of a soma's descriptor."""
        return self.hidden + 2 * self.frequencies + self.code + 1


class Constellation(nn.Module):
    """Match two sets of somata by where they lie, and by embeddings where there are any.

    Parameters
    ----------
    config : ConstellationConfig
    """

    def __init__(self, config: ConstellationConfig) -> None:
        super().__init__()
        self.config = config
        self.waves = nn.Linear(3, config.frequencies, bias=False)
        self.place_waves = nn.Linear(3, config.frequencies, bias=False)
        nn.init.normal_(self.waves.weight, std=1.5)
        nn.init.normal_(self.place_waves.weight, std=0.5)
        self.neighbour = nn.Sequential(
            nn.Linear(2 * config.frequencies + 4, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.hidden),
            nn.GELU(),
        )
        self.pooled = nn.Linear(2 * config.hidden + 1, config.hidden)
        self.matcher = LightGlue(
            LightGlueConfig(
                descriptor_dim=config.descriptor_dim,
                position_dim=3,
                dim=config.dim,
                heads=config.heads,
                layers=config.layers,
            )
        )

    def forward(
        self,
        positions: tuple[Tensor, Tensor],
        codes: tuple[Tensor, Tensor] | None = None,
        *,
        every_layer: bool = True,
    ) -> LightGlueOutput:
        """Match.

        Parameters
        ----------
        positions : pair of Tensor, (B, N, 3) and (B, M, 3)
            In one unit, in which neighbours are about one apart; the rough orientation
            applied. Neither side's origin matters.
        codes : pair of Tensor, (B, N, code) and (B, M, code), optional
            Of the embeddings; see `embedding_codes`. Rows of zeros say nothing.
        every_layer : bool
            See `LightGlue.forward`.
        """
        given = codes or (None, None)
        described = (
            self.describe(positions[0], given[0]),
            self.describe(positions[1], given[1]),
        )
        return self.match(described, positions, every_layer=every_layer)

    def match(
        self,
        described: tuple[Tensor, Tensor],
        positions: tuple[Tensor, Tensor],
        *,
        every_layer: bool = True,
    ) -> LightGlueOutput:
        """As `forward`, with what `describe` says of either side."""
        output: LightGlueOutput = self.matcher(described, positions, every_layer=every_layer)
        return output

    def describe(self, positions: Tensor, code: Tensor | None = None) -> Tensor:
        """Describe each soma of a side by its neighbours, its place and its embedding.

        Parameters
        ----------
        positions : Tensor, shape (B, N, 3)
        code : Tensor, shape (B, N, code), optional

        Returns
        -------
        Tensor, shape (B, N, descriptor_dim)
        """
        if code is None:
            code = positions.new_zeros(*positions.shape[:2], self.config.code)
        place = self.place_waves(positions - positions.mean(dim=1, keepdim=True))
        known = (code != 0).any(dim=2, keepdim=True).to(code.dtype)
        neighbourhood = self._neighbourhood(positions)
        return torch.cat([neighbourhood, place.sin(), place.cos(), code, known], dim=2)

    def _neighbourhood(self, positions: Tensor) -> Tensor:
        """Describe the neighbourhood of each soma, (B, N, hidden)."""
        count = min(self.config.neighbours, positions.shape[1] - 1)
        away = torch.cdist(positions, positions)
        rows = away.topk(count + 1, dim=2, largest=False).indices[:, :, 1:]
        flat = rows.flatten(1)[..., None].expand(-1, -1, 3)
        offset = positions.gather(1, flat).reshape(*rows.shape, 3) - positions[:, :, None]
        distance = offset.norm(dim=3, keepdim=True)
        phase = self.waves(offset)
        encoded = self.neighbour(torch.cat([offset, distance, phase.sin(), phase.cos()], dim=3))
        weight = (-0.5 * (distance / _NEIGHBOUR_SD).square()).exp()
        weighed = weight * encoded
        pool = [weighed.mean(dim=2), weighed.amax(dim=2), weight.mean(dim=2)]
        pooled: Tensor = self.pooled(torch.cat(pool, dim=2))
        return pooled


def embedding_codes(
    query_embeddings: npt.ArrayLike, gallery_embeddings: npt.ArrayLike, count: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return a few whitened components that both sides' embeddings share.

    Parameters
    ----------
    query_embeddings, gallery_embeddings : array_like, shape (N, D) and (M, D)
    count : int
        Components.

    Returns
    -------
    tuple of ndarray of float32, shape (N, count) and (M, count)
        Each side has a mean of 0; a component has a variance of about 1.
    """
    sides = [np.asarray(side, dtype=np.float64) for side in (query_embeddings, gallery_embeddings)]
    if any(side.ndim != 2 for side in sides) or sides[0].shape[1] != sides[1].shape[1]:
        raise InputError("The embeddings of both sides must be rows of one length.")
    if not all(np.isfinite(side).all() for side in sides):
        raise InputError("The embeddings hold NaN or infinite numbers.")
    centred = [side - side.mean(axis=0) for side in sides]
    whole = np.vstack(centred)
    _, sizes, axes = np.linalg.svd(whole, full_matrices=False)
    kept = min(count, int((sizes > 1e-9 * sizes[0]).sum()) if sizes[0] > 0 else 0)
    scale = math.sqrt(len(whole)) / sizes[:kept]
    codes = []
    for side in centred:
        code = np.zeros((len(side), count), dtype=np.float32)
        code[:, :kept] = (side @ axes[:kept].T) * scale
        codes.append(code)
    return codes[0], codes[1]


def save_constellation(model: Constellation, folder: Path) -> ModelFolder:
    """Write configuration and weights (float16) as a new model folder.

    Raises
    ------
    InputError
        If the folder holds a model already.
    """
    return save_network(model, model.config, folder)


def load_constellation(folder: Path) -> Constellation:
    """Read a model folder.

    Raises
    ------
    InputError
        If a file is missing, damaged or of another kind of model, or the two do not fit together.
    """
    return load_network(folder, CONSTELLATION, ConstellationConfig, Constellation)
