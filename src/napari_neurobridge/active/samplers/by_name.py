"""The samplers by the names that people choose them by."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from napari_neurobridge.active.samplers.badge import badge
from napari_neurobridge.active.samplers.clue import clue
from napari_neurobridge.active.samplers.max_uncertainty import max_uncertainty
from napari_neurobridge.active.samplers.median_uncertainty import median_uncertainty
from napari_neurobridge.active.samplers.min_uncertainty import min_uncertainty
from napari_neurobridge.active.samplers.random_items import random_items

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_neurobridge.active.samplers.pool import Sampler


class SamplerName(StrEnum):
    """The five samplers of NeuroADDA's table 2, and chance."""

    RANDOM = "random"
    MIN = "min"
    MEDIAN = "median"
    MAX = "max"
    BADGE = "badge"
    CLUE = "clue"


SAMPLERS: Mapping[SamplerName, Sampler] = {
    SamplerName.RANDOM: random_items,
    SamplerName.MIN: min_uncertainty,
    SamplerName.MEDIAN: median_uncertainty,
    SamplerName.MAX: max_uncertainty,
    SamplerName.BADGE: badge,
    SamplerName.CLUE: clue,
}
