"""Measure how many crops a second the bundled model embeds, as docs/benchmarks.md reports."""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.project.zoo import DEFAULT_MODEL, find_model

CROPS = 256
RUNS = 7


def main() -> None:
    """Print the median over a few runs, after one that warms up."""
    encoder = Encoder.load(find_model(DEFAULT_MODEL))
    crops = np.random.default_rng(0).random((CROPS, 150, 150), dtype=np.float32)
    encoder.embed(crops)
    rates = []
    for _ in range(RUNS):
        started = time.perf_counter()
        encoder.embed(crops)
        rates.append(CROPS / (time.perf_counter() - started))
    print(
        f"{encoder.name}@{encoder.hash}: {statistics.median(rates):.0f} crops/s "
        f"({min(rates):.0f} to {max(rates):.0f}), {torch.get_num_threads()} threads"
    )


if __name__ == "__main__":
    main()
