"""Tables of the simulation page that follow from the code or from measurements."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.cells import WITHIN_UM, procedural_neurons, real_neurons
from figures.origins import ORIGINS
from figures.real import compare_with_most, make_comparisons, summary
from napari_neurobridge.simulation.levels import LEVELS, level
from napari_neurobridge.simulation.neurons.morphometry import measure_dendrites
from napari_neurobridge.simulation.optics.labels import REGIMES, in_regime
from napari_neurobridge.simulation.parameters import Parameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_SUMMARY = ("median", "90th percentile", "share above 0.5", "correlation at 4 µm")
_MEASURES = ("stems", "segments", "max_order", "median_tip_path_um", "max_path_um", "length_um")


def write_parameters(page: Path) -> None:
    """Write levels, defaults and label regimes into the page."""
    paper = dict(_flat(level("paper")))
    rows: list[tuple[str, ...]] = []
    for name, difficulty in LEVELS.items():
        changed = [
            f"`{key}` {_words(value)}"
            for key, value in _flat(difficulty)
            if value != paper[key] and not key.startswith("tissue.layers")
        ]
        if difficulty.tissue.layers != level("paper").tissue.layers:
            changed.append("`tissue.layers` (sizes and densities of somata)")
        rows.append((f"`{name}`", difficulty.digest(), "; ".join(changed) or "the defaults"))
    _replace(page, "levels", ("level", "digest", "what differs from `paper`"), rows)
    defaults = [
        (meaning, f"`{key}`", _words(paper[key]), origin) for key, meaning, origin in ORIGINS
    ]
    _replace(page, "defaults", ("what", "parameter", "`paper`", "origin"), defaults)
    label = level("paper")
    rows = []
    for name in REGIMES:
        in_vivo, ex_vivo = in_regime(name, label.two_photon_label, label.fmost_label)
        shared = ex_vivo.coexpression
        both = (
            shared * min(in_vivo.visible_fraction, ex_vivo.labelled_fraction)
            + (1 - shared) * in_vivo.visible_fraction * ex_vivo.labelled_fraction
        )
        shares = (in_vivo.visible_fraction, ex_vivo.labelled_fraction, both)
        rows.append((f"`{name}`", *(f"{share:.2g}" for share in shares)))
    _replace(page, "regimes", ("regime", "visible in vivo", "labelled ex vivo", "both"), rows)


def write_comparisons(page: Path, real_data: Path) -> None:
    """Write the numbers of the comparisons with real data into the page."""
    pairs = make_comparisons(real_data) | {"most_soma": compare_with_most(real_data)}
    rows: list[tuple[str, ...]] = []
    for name, row in pairs.items():
        for words, volume in (("simulated", row.at_real_voxels), ("real", row.real)):
            found = summary(volume)
            rows.append((f"`{name}`", words, *(f"{value:.2f}" for value in found.values())))
    head: tuple[str, ...] = ("voxels of", "", *_SUMMARY)
    _replace(page, "images", head, rows)
    real, procedural = (
        [measure_dendrites(neuron, WITHIN_UM) for neuron in neurons]
        for neurons in (real_neurons(real_data / "morphologies"), procedural_neurons())
    )
    rows = []
    for name in _MEASURES:
        values = [getattr(one, name) for one in real]
        median = np.median([getattr(one, name) for one in procedural])
        spread = f"{np.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"
        rows.append((name.replace("_um", " (µm)").replace("_", " "), spread, f"{median:.0f}"))
    head = ("dendrites within 200 µm", "real, median and range of 6", "procedural, median of 60")
    _replace(page, "dendrites", head, rows)


def _flat(parameters: Parameters, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every parameter that is no group of others, with its dotted name."""
    for name in type(parameters).model_fields:
        value = getattr(parameters, name)
        if isinstance(value, Parameters):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _words(value: object) -> str:
    if isinstance(value, tuple):
        # A range has two ends; three numbers belong to z, y and x.
        return (" to " if len(value) == 2 else ", ").join(f"{number:g}" for number in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _replace(page: Path, name: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Replace the table between two marks of the page.

    Raises
    ------
    ValueError
        If the page has no such marks.
    """
    lines = [head, tuple("---" for _ in head), *rows]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    first, last = f"<!-- table {name}: written by make_simulation_figures.py -->", "<!-- end -->"
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(first) + ".*?" + re.escape(last), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{page.name} has no marks for the table {name}.")
    fresh = pattern.sub(lambda _: f"{first}\n\n{table}\n\n{last}", text)
    page.write_text(fresh, encoding="utf-8")
