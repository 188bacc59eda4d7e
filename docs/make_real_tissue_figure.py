"""Make the picture of ``real-tissue.md`` from what ``benchmark real-pairs --json`` printed.

Run ``python docs/make_real_tissue_figure.py FILE.json``. The picture holds numbers only, nothing of
the images or tables that they were measured on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_neurobridge.benchmarks.real_pairs_matching import RealPairsBenchmark, RealPairsRow
from napari_neurobridge.insight.figures.style import (
    LIGHT,
    new_figure,
    save_figure,
    show_legend,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGE = Path(__file__).resolve().parent / "images" / "real-tissue.png"
_DPI = 140


def main() -> None:
    """Draw all panels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", type=Path, help="what 'benchmark real-pairs --json' printed")
    found = RealPairsBenchmark.model_validate_json(parser.parse_args().figures.read_text())
    rows = [row for row in found.results if row.by == "coordinates"]
    figure, panels = new_figure(LIGHT, rows=3, height_in=9.0)
    _draw_agreement(panels[0], rows)
    _draw_pictures(panels[1], rows, found)
    _draw_decoys(panels[2], rows)
    save_figure(figure, IMAGE, dpi=_DPI)


def _names(rows: list[RealPairsRow]) -> list[str]:
    return [f"{row.set}\n{row.n_landmarks or 'no'} pairs" for row in rows]


def _draw_agreement(ax: Axes, rows: list[RealPairsRow]) -> None:
    """Draw what is claimed of the known pairs, and how many claims agree."""
    matched = [row for row in rows if row.unknown < row.draws]
    for offset, (name, label, color) in enumerate(
        (
            ("coverage", "known pairs claimed", "#1f77b4"),
            ("agreement", "claims that agree", "#ff7f0e"),
        )
    ):
        places = [place + 0.2 * (offset - 0.5) for place in range(len(matched))]
        means = [getattr(row, name) for row in matched]
        worst = [getattr(row, f"{name}_worst") for row in matched]
        ax.vlines(places, worst, means, color=color)
        ax.plot(places, means, "o", color=color, label=label)
        ax.plot(places, worst, "_", color=color)
    ax.set_xticks(range(len(matched)), _names(matched), fontsize=6)
    ax.set_ylim(0.5, 1.02)
    ax.set_title("coordinates alone, mean and worst draw")
    show_legend(ax, LIGHT, "lower right")


def _draw_pictures(ax: Axes, rows: list[RealPairsRow], found: RealPairsBenchmark) -> None:
    """Draw how often pictures alone name the cell that places claim."""
    said = [(f"{row.n_landmarks or 'no'} pairs", row.pictures) for row in rows if row.pictures]
    said += [("known\npairs", row.known_pairs) for row in found.images_alone]
    for offset, (name, label) in enumerate(
        (("within_40um", "of all within 40 µm"), ("among_53", "of 53"), ("among_all", "of all"))
    ):
        places = [place + 0.25 * (offset - 1) for place in range(len(said))]
        ax.bar(places, [getattr(one, name) for _, one in said], 0.22, label=f"first {label}")
    chance = sum(one.chance_40um for _, one in said) / max(len(said), 1)
    ax.axhline(chance, color="#999999", lw=1, label="chance within 40 µm")
    ax.set_xticks(range(len(said)), [name for name, _ in said], fontsize=6)
    ax.set_ylim(0, 1.3)
    ax.set_title("pictures alone name the claimed cell")
    ax.legend(loc="upper center", ncols=4, frameon=False, fontsize=7)


def _draw_decoys(ax: Axes, rows: list[RealPairsRow]) -> None:
    """Draw what is claimed in the worst decoy, where nothing is right."""
    rows = [row for row in rows if row.decoys]
    for offset, (name, label) in enumerate(
        (("decoy_again", "matched again"), ("decoy_grown", "under the same alignment"))
    ):
        places = [place + 0.3 * (offset - 0.5) for place in range(len(rows))]
        ax.bar(places, [getattr(row, name) or 0.0 for row in rows], 0.27, label=label)
    ax.axhline(0.02, color="#d62728", lw=1, label="2 %")
    ax.set_xticks(range(len(rows)), _names(rows), fontsize=6)
    ax.set_title("claimed in the worst decoy")
    show_legend(ax, LIGHT)


if __name__ == "__main__":
    main()
