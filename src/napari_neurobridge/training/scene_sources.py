"""Which simulated scenes a bundled model is made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_neurobridge.types import Report

SceneT = TypeVar("SceneT")


class SceneSource(BaseModel, frozen=True, extra="forbid"):
    """Scenes of one level."""

    level: str = "paper"
    first_seed: int
    count: int = Field(gt=0)


def levels_and_seeds(sources: Sequence[SceneSource]) -> list[tuple[str, int]]:
    """Return the level and the seed of each scene."""
    return [(one.level, one.first_seed + n) for one in sources for n in range(one.count)]


def load_each(
    sources: Sequence[SceneSource],
    load: Callable[[int, str], SceneT],
    report: Report | None = None,
) -> list[SceneT]:
    """Return what a function of seed and level returns for all scenes.

    Parameters
    ----------
    sources : sequence of SceneSource
    load : callable
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to stop.
    """
    wanted = levels_and_seeds(sources)
    scenes = []
    for done, (level, seed) in enumerate(wanted):
        if report is not None:
            report(done, len(wanted), "simulating scenes")
        scenes.append(load(seed, level))
    return scenes


def numbered_by_scene(sources: Sequence[SceneSource], count: int) -> list[tuple[int, str, int]]:
    """Deal so many numbers out to the scenes; return number, level and seed, scene by scene.

    One scene after the other, since all together may be larger than the memory of a laptop.
    """
    wanted = levels_and_seeds(sources)
    numbers = sorted(range(count), key=lambda number: number % len(wanted))
    return [(number, *wanted[number % len(wanted)]) for number in numbers]


def scene_list(sources: Sequence[SceneSource]) -> str:
    """Return the lines of a card that name the scenes."""
    return "\n".join(
        f"- {one.count} of level `{one.level}`, seeds from {one.first_seed}" for one in sources
    )
