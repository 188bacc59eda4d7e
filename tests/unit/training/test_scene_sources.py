"""Which scenes a model is made from: each once, and dealt out evenly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_neurobridge.training.scene_sources import (
    SceneSource,
    levels_and_seeds,
    load_each,
    numbered_by_scene,
    scene_list,
)

SOURCES = (
    SceneSource(level="paper", first_seed=7, count=2),
    SceneSource(level="easy", first_seed=40, count=1),
)
SCENES = [("paper", 7), ("paper", 8), ("easy", 40)]


def test_every_scene_is_loaded_once_and_reported() -> None:
    reported: list[tuple[int, int]] = []
    loaded = load_each(
        SOURCES,
        lambda seed, level: f"{level} {seed}",
        report=lambda done, total, _: reported.append((done, total)),
    )
    assert levels_and_seeds(SOURCES) == SCENES
    assert loaded == ["paper 7", "paper 8", "easy 40"]
    assert reported == [(0, 3), (1, 3), (2, 3)]


@given(st.integers(0, 50))
def test_numbers_are_dealt_out_evenly_and_scene_by_scene(count: int) -> None:
    dealt = numbered_by_scene(SOURCES, count)
    assert sorted(number for number, _, _ in dealt) == list(range(count))
    order = [SCENES.index((level, seed)) for _, level, seed in dealt]
    assert order == sorted(order)
    shares = [order.count(scene) for scene in range(len(SCENES))]
    assert max(shares) - min(shares) <= 1


def test_a_number_keeps_its_scene_when_there_are_more() -> None:
    few, many = numbered_by_scene(SOURCES, 5), numbered_by_scene(SOURCES, 12)
    assert set(few) <= set(many)


def test_a_card_names_the_scenes() -> None:
    assert scene_list(SOURCES).splitlines() == [
        "- 2 of level `paper`, seeds from 7",
        "- 1 of level `easy`, seeds from 40",
    ]


def test_no_scene_is_no_source() -> None:
    with pytest.raises(ValidationError):
        SceneSource(first_seed=0, count=0)
