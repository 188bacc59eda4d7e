"""How much top-1 a model loses when the tissue itself is imaged from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.viewpoints import Viewpoint, crops_from
from napari_neurobridge.training.evaluation import partner_ranks, top_k
from napari_neurobridge.training.simulated_data import EVALUATION_CELLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.types import Report

VIEWS: tuple[tuple[str, float], ...] = (
    ("none", 0.0),
    ("angle", 15.0),
    ("angle", 30.0),
    ("tilt", 10.0),
    ("depth", 10.0),
    ("axial scale", 0.8),
    ("axial scale", 1.25),
)
"""Kind and amount: degrees, degrees, µm and a factor, to either side in turn of the scenes."""


def viewpoint(kind: str, amount: float, sign: int) -> Viewpoint:
    """Return where a scene is imaged from; a factor has no sign."""
    if kind == "angle":
        return Viewpoint(angle_deg=sign * amount)
    if kind == "tilt":
        return Viewpoint(tilt_deg=sign * amount)
    if kind == "depth":
        return Viewpoint(depth_um=sign * amount)
    return Viewpoint(axial_scale=amount) if kind == "axial scale" else Viewpoint()


def ranks_from_elsewhere(
    encoder: Encoder, seeds: Sequence[int], level: str, *, report: Report | None = None
) -> tuple[list[dict[str, float]], int]:
    """Rank the cells of each scene, its ex-vivo side imaged from each of `VIEWS`.

    Returns
    -------
    list of dict
        Top "1", "5" and "10" within the own scene, for each view.
    int
        Number of queries.
    """
    ranks: list[list[int]] = [[] for _ in VIEWS]
    total = len(seeds) * len(VIEWS)
    for index, seed in enumerate(seeds):

        def tell(done: int, index: int = index, seed: int = seed) -> None:
            if report is not None:
                text = f"{VIEWS[done][0]} {VIEWS[done][1]:g}, scene {seed}"
                report(index * len(VIEWS) + done, total, text)

        sign = 1 if index % 2 == 0 else -1
        views = [viewpoint(kind, amount, sign) for kind, amount in VIEWS]
        two_photon, fmost = crops_from(named_level(level), EVALUATION_CELLS, seed, views, tell=tell)
        queries = encoder.embed(two_photon)
        for own, crops in zip(ranks, fmost, strict=True):
            own += partner_ranks(queries @ encoder.embed(crops).T).tolist()
    return [top_k(np.array(own)) for own in ranks], len(ranks[0])
