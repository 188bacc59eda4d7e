"""How much top-1 a model loses when crops are turned, off centre, dimmed or bereft of context."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor
from torch.nn import functional

from napari_neurobridge.benchmarks.contract import (
    BenchmarkResult,
    Level,
    ModelParameters,
    Seeds,
)
from napari_neurobridge.benchmarks.robustness_views import VIEWS, ranks_from_elsewhere
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import CropSpec, normalize_crops
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.training.evaluation import partner_ranks, top_k
from napari_neurobridge.training.simulated_data import EVALUATION_CELLS, held_out_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.types import Float32Array, Report

TEST_SEEDS = tuple(range(100, 110))
"""Scenes that no bundled model was trained or tuned on."""

SOMA_UM = 12.0
"""Radius around the centre that stays when context goes missing."""


class Perturbation(BaseModel, frozen=True, extra="forbid"):
    """One change of the two-photon crops; the fMOST crops stay as they are."""

    kind: Literal["rotation", "centring", "brightness", "gamma", "context", "border"]
    amount: float = Field(
        description="Degrees turned; µm off centre, in a random direction; factor of "
        "brightness; exponent; part of the surroundings of the soma that is black; or part of the "
        "width that lies outside the image, at a random side."
    )

    @property
    def changes_nothing(self) -> bool:
        """Whether this is the crop as it is."""
        return self.amount == (1.0 if self.kind in ("brightness", "gamma") else 0.0)


PERTURBATIONS = (
    Perturbation(kind="rotation", amount=0.0),
    *(Perturbation(kind="rotation", amount=a) for a in (5.0, 10.0, 15.0, 20.0, 30.0)),
    *(Perturbation(kind="centring", amount=a) for a in (1.0, 2.0, 3.0, 4.0, 6.0)),
    *(Perturbation(kind="brightness", amount=a) for a in (0.25, 0.5, 1.5, 2.0)),
    *(Perturbation(kind="gamma", amount=a) for a in (0.5, 0.7, 1.4, 2.0)),
    *(Perturbation(kind="context", amount=a) for a in (0.125, 0.25, 0.5, 1.0)),
    *(Perturbation(kind="border", amount=a) for a in (0.125, 0.25, 0.375)),
)
"""What the table has; the first row is that of the crops as they are."""


class RobustnessRow(BaseModel, frozen=True):
    """Retrieval under one change."""

    kind: str
    amount: float
    topk: dict[str, float] = Field(description='Top "1", "5", "10" within the own scene.')
    kept: float | None = Field(description="Top-1 over that of the crops as they are.")


class RobustnessParameters(ModelParameters):
    """Scenes to rank in."""

    level: Level = "paper"
    seeds: Seeds = TEST_SEEDS
    rendered: bool = Field(
        False,
        description="Image the fMOST tissue again, turned, tilted, deeper and stretched, in place "
        "of changing two-photon crops.",
    )


class RobustnessBenchmark(BenchmarkResult):
    """Top-k of a model under changes of the two-photon crops."""

    model: str = Field(description="Name and hash of the encoder.")
    level: str = Field(description="Difficulty of the simulation.")
    seeds: tuple[int, ...] = Field(description="One scene each.")
    candidates: int = Field(description="Cells per scene.")
    n_queries: int
    results: tuple[RobustnessRow, ...] = Field(description="The crops as they are first.")

    def summary(self) -> str:
        """Return a table."""
        rows = [
            (row.kind, row.amount, *(row.topk[k] for k in ("1", "5", "10")), row.kept)
            for row in self.results
        ]
        return text_table(("change", "amount", "top-1", "top-5", "top-10", "top-1 kept"), rows)


def benchmark_robustness(
    encoder: Encoder,
    parameters: RobustnessParameters | None = None,
    *,
    perturbations: Sequence[Perturbation] = PERTURBATIONS,
    report: Report | None = None,
) -> RobustnessBenchmark:
    """Rank the 53 cells of each held-out scene, with the two-photon crops changed.

    Parameters
    ----------
    encoder : Encoder
        The model to test.
    parameters : RobustnessParameters, optional
    perturbations : sequence of Perturbation
        The crops as they are come first in any case.
    report : callable, optional
        Called as ``report(done, total, text)``.

    Raises
    ------
    InputError
        If no seed is given, or the level is unknown.
    """
    parameters = parameters or RobustnessParameters()
    seeds, level = parameters.seeds, parameters.level
    if not seeds:
        raise InputError("the benchmark needs at least one scene; give at least one seed")
    if parameters.rendered:
        return _rendered(encoder, parameters, report)
    pairs = held_out_pairs(seeds, level)
    gallery = encoder.embed(pairs.fmost)
    unchanged = Perturbation(kind="rotation", amount=0.0)
    wanted = (unchanged, *(p for p in perturbations if not p.changes_nothing))
    rows: list[RobustnessRow] = []
    for done, perturbation in enumerate(wanted):
        if report is not None:
            report(done, len(wanted), f"{perturbation.kind} {perturbation.amount:g}")
        crops = perturbed(pairs.two_photon, perturbation, seed=done)
        topk = _topk(encoder.embed(crops), gallery, pairs)
        base = rows[0].topk["1"] if rows else topk["1"]
        rows.append(
            RobustnessRow(
                kind="none" if perturbation.changes_nothing else perturbation.kind,
                amount=perturbation.amount,
                topk=topk,
                kept=topk["1"] / base if base > 0 else None,
            )
        )
    return RobustnessBenchmark(
        model=f"{encoder.name} {encoder.hash}",
        level=level,
        seeds=seeds,
        candidates=EVALUATION_CELLS,
        n_queries=len(pairs),
        results=tuple(rows),
    )


def _rendered(
    encoder: Encoder, parameters: RobustnessParameters, report: Report | None
) -> RobustnessBenchmark:
    found, n_queries = ranks_from_elsewhere(
        encoder, parameters.seeds, parameters.level, report=report
    )
    base = found[0]["1"]
    return RobustnessBenchmark(
        model=f"{encoder.name} {encoder.hash}",
        level=parameters.level,
        seeds=parameters.seeds,
        candidates=EVALUATION_CELLS,
        n_queries=n_queries,
        results=tuple(
            RobustnessRow(
                kind=kind, amount=amount, topk=topk, kept=topk["1"] / base if base else None
            )
            for (kind, amount), topk in zip(VIEWS, found, strict=True)
        ),
    )


def run(parameters: RobustnessParameters, *, report: Report | None = None) -> RobustnessBenchmark:
    """Answer the command line."""
    return benchmark_robustness(parameters.encoder(), parameters, report=report)


def perturbed(
    crops: Float32Array, perturbation: Perturbation, *, seed: int, pixel_um: float | None = None
) -> Float32Array:
    """Return changed crops; what comes into view from outside of a crop is black.

    Parameters
    ----------
    crops : ndarray of float32, shape (N, P, P)
        In [0, 1].
    perturbation : Perturbation
        What to change.
    seed : int
        Seed of directions and senses of rotation.
    pixel_um : float, optional
        Size of a pixel; that of the default crop unless given.

    Returns
    -------
    ndarray of float32, shape (N, P, P)
        In [0, 1].
    """
    if perturbation.changes_nothing:
        return crops
    pixel_um = pixel_um or CropSpec().pixel_um
    generator = torch.Generator().manual_seed(seed)
    images = torch.from_numpy(np.ascontiguousarray(crops, dtype=np.float32))[:, None]
    # One random direction for each crop: where it is turned, moved or blanked to.
    direction = 2 * math.pi * torch.rand(len(images), generator=generator)
    amount = perturbation.amount
    if perturbation.kind == "rotation":
        sense = torch.where(direction < math.pi, 1.0, -1.0)
        changed = _warp(images, math.radians(amount) * sense, torch.zeros(len(images), 2))
    elif perturbation.kind == "centring":
        towards = torch.stack((direction.cos(), direction.sin()), dim=1)
        changed = _warp(images, torch.zeros(len(images)), towards * (amount / pixel_um))
    elif perturbation.kind == "border":
        return _cut_off(images, direction, amount)
    elif perturbation.kind == "context":
        changed = _blank(images, direction, amount, SOMA_UM / pixel_um)
    else:
        changed = images * amount if perturbation.kind == "brightness" else images**amount
    result: Float32Array = changed.clamp(0, 1)[:, 0].numpy()
    return result


def _warp(images: Tensor, angle: Tensor, shift_px: Tensor) -> Tensor:
    """Turn images (B, 1, P, P) about their centres, then move them."""
    cos, sin = angle.cos(), angle.sin()
    # affine_grid counts in half widths of the image.
    shift = shift_px * (2 / images.shape[-1])
    theta = torch.stack(
        (
            torch.stack((cos, -sin, shift[:, 0]), dim=1),
            torch.stack((sin, cos, shift[:, 1]), dim=1),
        ),
        dim=1,
    )
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _blank(images: Tensor, direction: Tensor, part: float, soma_px: float) -> Tensor:
    """Black out a sector of the surroundings of the soma, ``part`` of the full circle."""
    place = torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    rows, columns = torch.meshgrid(place, place, indexing="ij")
    turn = (torch.atan2(rows, columns) - direction[:, None, None]).remainder(2 * math.pi)
    lost = (turn < 2 * math.pi * part) & (torch.hypot(rows, columns) > soma_px)
    return images.masked_fill(lost[:, None], 0.0)


def _cut_off(images: Tensor, direction: Tensor, part: float) -> Float32Array:
    """Let one side of images lie outside; the rest is stretched anew, as where crops are cut."""
    pixels = images.shape[-1]
    lost = round(part * pixels)
    cut: Float32Array = images[:, 0].numpy().copy()
    for crop, side in zip(cut, (direction / (math.pi / 2)).int().tolist(), strict=True):
        np.rot90(crop, side)[:lost] = 0
    return normalize_crops(cut, cut > 0)


def _topk(two_photon: Float32Array, fmost: Float32Array, pairs: PairSet) -> dict[str, float]:
    own_scene = pairs.scene[:, None] == pairs.scene[None, :]
    return top_k(partner_ranks(np.where(own_scene, two_photon @ fmost.T, -np.inf)))
