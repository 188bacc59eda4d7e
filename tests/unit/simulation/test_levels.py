import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.levels import DOMAINS, LEVELS, Difficulty, level
from napari_neurobridge.simulation.optics.labels import REGIMES
from napari_neurobridge.simulation.pairs import BlockKeys, image_block
from napari_neurobridge.simulation.parameters import Parameters


def slightly_other(value: Any) -> Any:
    """Return the smallest change of a parameter that its type allows."""
    if isinstance(value, Parameters):
        return next(neighbours(value))
    if isinstance(value, tuple):
        return (slightly_other(value[0]), *value[1:])
    return math.nextafter(value, math.inf) if isinstance(value, float) else value + 1


def neighbours(parameters: Parameters) -> Iterator[Parameters]:
    """Yield copies of which each differs in one parameter, at any depth, by a hair."""
    for name in type(parameters).model_fields:
        value = getattr(parameters, name)
        others = (
            neighbours(value) if isinstance(value, Parameters) else iter([slightly_other(value)])
        )
        for other in others:
            yield parameters.model_copy(update={name: other})


def test_paper_is_the_default_set_of_parameters():
    assert level("paper") == Difficulty()


def test_an_unknown_level_is_named_with_those_there_are():
    with pytest.raises(InputError, match=r"'impossible'.*easy, paper, hard, domain-A"):
        level("impossible")


def test_levels_get_harder():
    for less, more in itertools.pairwise(LEVELS[name] for name in ("easy", "paper", "hard")):
        both = [
            level.two_photon_label.visible_fraction * level.fmost_label.labelled_fraction
            for level in (less, more)
        ]
        assert both[0] > both[1]
        assert less.misfit.nonrigid_um < more.misfit.nonrigid_um
        assert less.misfit.angle_deg < more.misfit.angle_deg


def test_every_level_is_named_and_no_two_are_alike():
    assert {"easy", "paper", "hard", "sparse", *DOMAINS} == set(LEVELS)
    assert len(DOMAINS) == 6
    assert len({difficulty.digest() for difficulty in LEVELS.values()}) == len(LEVELS)


def test_domains_differ_in_point_spread_noise_labels_and_cells():
    def kinds(difficulty: Difficulty) -> list[object]:
        two_photon, fmost = difficulty.two_photon, difficulty.fmost
        return [
            (two_photon.axial_sigma_um, two_photon.lateral_sigma_um, fmost.axial_sigma_um),
            (two_photon.photons, two_photon.neuropil, fmost.photons),
            (difficulty.two_photon_label, difficulty.fmost_label),
            (difficulty.tissue, difficulty.morphology),
        ]

    for of_domains in zip(*(kinds(LEVELS[name]) for name in DOMAINS), strict=True):
        assert any(kind != of_domains[0] for kind in of_domains[1:])


def test_the_digest_differs_whenever_any_parameter_does():
    paper = Difficulty()
    digests = [other.digest() for other in neighbours(paper)]
    assert len(digests) > 80
    assert len({paper.digest(), *digests}) == len(digests) + 1


def test_the_digest_is_that_of_the_values_however_they_were_set():
    paper = Difficulty()
    assert len(paper.digest()) == 12
    assert int(paper.digest(), 16) >= 0
    there = paper.changed(crops={"centring_um": 9.0}, misfit={"angle_deg": 1.0})
    back = there.changed(crops=dict(paper.crops), misfit=dict(paper.misfit))
    assert there.digest() != paper.digest() == back.digest() == Difficulty().digest()


def test_a_change_leaves_all_else_as_it_was():
    paper = Difficulty()
    other = paper.changed(two_photon={"photons": 7.0})
    assert other.two_photon.photons == 7.0
    assert other == paper.model_copy(update={"two_photon": other.two_photon})
    assert other.two_photon == paper.two_photon.model_copy(update={"photons": 7.0})


@pytest.mark.parametrize(
    "changes",
    [
        {"tisue": {"density_per_mm3": 1.0}},
        {"tissue": {"densty_per_mm3": 1.0}},
        {"tissue": {"density_per_mm3": "many"}},
        {"two_photon_label": {"visible_fraction": 1.5}},
        {"two_photon": {"photons": 0.0}},
        {"crops": {"centring_um": -1.0}},
    ],
)
def test_a_change_that_makes_no_sense_is_refused(changes):
    with pytest.raises(ValidationError):
        level("paper").changed(**changes)


def test_levels_cannot_be_changed_in_place_or_misspelt():
    with pytest.raises(ValidationError):
        level("paper").tissue.density_per_mm3 = 1.0
    with pytest.raises(ValidationError):
        Difficulty(tisue={})


@pytest.mark.parametrize("regime", REGIMES)
def test_a_regime_changes_who_is_labelled_and_nothing_else(regime):
    easy = level("easy")
    other = easy.with_labels(regime)
    labels = ("two_photon_label", "fmost_label")
    for name in Difficulty.model_fields:
        if name not in labels:
            assert getattr(other, name) == getattr(easy, name)
    for name, changed in zip(
        labels, (REGIMES[regime].two_photon, REGIMES[regime].fmost), strict=True
    ):
        assert getattr(other, name) == getattr(easy, name).model_copy(update=dict(changed))


def test_an_unknown_regime_is_named_with_those_there_are():
    with pytest.raises(InputError, match=r"'rare'.*sparse-sparse, dense-sparse, dense-dense"):
        level("paper").with_labels("rare")


def test_paper_is_frozen():
    """Figures and models name this level; another set of parameters needs another name."""
    assert level("paper").digest() == "83677990cf75"


def test_a_sparse_block_has_some_4000_labelled_cells_per_mm3_and_few_neighbours_in_a_crop():
    """Counted on either side, within the 120 × 120 × 30 µm that a crop shows."""
    density, shared, neighbours = [], [], []
    for seed in range(2):
        block = image_block(level("sparse"), 12, BlockKeys.of(seed, 0), torch.device("cpu"))
        tissue = block.sides[0].specimen.tissue
        volume_mm3 = np.prod(np.subtract(tissue.high_um, tissue.low_um)) * 1e-9
        seen = [side.specimen.label.visible.numpy() for side in block.sides]
        density += [visible.sum() / volume_mm3 for visible in seen]
        shared.append((seen[0] & seen[1]).sum() / seen[0].sum())
        center = tissue.somata.center_um.numpy()
        for asked in block.asked_um.numpy():
            near = (np.abs(center[seen[1]] - asked) < (15.0, 60.0, 60.0)).all(axis=1)
            neighbours.append(near.sum() - 1)
    assert 3000 < np.mean(density) < 5500
    assert np.mean(shared) > 0.8
    assert np.mean(neighbours) < 2.5
