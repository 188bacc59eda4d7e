"""What `Encoder.embed` costs beside the network itself."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field

from napari_neurobridge.benchmarks.contract import BenchmarkResult, ModelParameters
from napari_neurobridge.encoder.embed import autocast_pays
from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.types import Report

_BATCH = 64


class EmbeddingSpeedParameters(ModelParameters):
    """How much to embed."""

    crops: int = Field(256, description="Crops in a round.")
    rounds: int = Field(7, description="Rounds to take medians over.")


class EmbeddingSpeed(BenchmarkResult):
    """Rates of one model on one machine, medians over the rounds."""

    model: str = Field(description="Name and hash of the encoder.")
    device: str
    threads: int
    crops: int = Field(description="Crops in a round.")
    rounds: int
    embed_per_second: float = Field(description="Crops a second by `Encoder.embed`.")
    forward_per_second: float = Field(
        description="Crops a second by the network alone, on tensors that lie ready."
    )
    ratio: float = Field(
        description="Time of the forward passes over that of `embed`: median over the rounds."
    )


def measure_embedding_speed(
    encoder: Encoder,
    parameters: EmbeddingSpeedParameters | None = None,
    *,
    report: Report | None = None,
) -> EmbeddingSpeed:
    """Compare `Encoder.embed`, from crops in memory, with bare forward passes.

    Both work on batches of 64 in the precision that `embed` would choose. They take turns,
    so that what else the machine does meets both alike.

    Parameters
    ----------
    encoder : Encoder
        The model to measure.
    parameters : EmbeddingSpeedParameters, optional
        One round more than it says warms up.
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to cancel.

    Raises
    ------
    InputError
        If there is nothing to measure.
    """
    parameters = parameters or EmbeddingSpeedParameters()
    crops, rounds = parameters.crops, parameters.rounds
    if crops < 1 or rounds < 1:
        raise InputError("Give at least 1 crop and 1 round to measure.")
    pixels = encoder.config.crop_pixels
    images = np.random.default_rng(0).random((crops, pixels, pixels), dtype=np.float32)
    ready = [
        torch.from_numpy(images[start : start + _BATCH])[:, None].to(encoder.device)
        for start in range(0, crops, _BATCH)
    ]

    def embed() -> None:
        encoder.embed(images, batch_size=_BATCH)

    def forward() -> None:
        kind = encoder.device.type
        enabled = autocast_pays(encoder.device)
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=enabled):
            for part in ready:
                encoder.model(part)
        if kind == "cuda":
            torch.cuda.synchronize()

    times: list[tuple[float, float]] = []
    for done in range(rounds + 1):
        if report is not None:
            report(done, rounds + 1, "embedding crops")
        # In turns first and second, since either place may be the better one.
        if done % 2:
            bare, whole = _seconds(forward), _seconds(embed)
        else:
            whole, bare = _seconds(embed), _seconds(forward)
        times.append((whole, bare))
    del times[0]
    return EmbeddingSpeed(
        model=f"{encoder.name} {encoder.hash}",
        device=str(encoder.device),
        threads=torch.get_num_threads(),
        crops=crops,
        rounds=rounds,
        embed_per_second=crops / statistics.median(whole for whole, _ in times),
        forward_per_second=crops / statistics.median(bare for _, bare in times),
        ratio=statistics.median(bare / whole for whole, bare in times),
    )


def run(parameters: EmbeddingSpeedParameters, *, report: Report | None = None) -> EmbeddingSpeed:
    """Answer the command line."""
    return measure_embedding_speed(parameters.encoder(), parameters, report=report)


def _seconds(function: Callable[[], None]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began
