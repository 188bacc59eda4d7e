import functools
import math

import pytest
import torch
from torch import Tensor, nn

from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.lightglue import (
    LightGlue,
    LightGlueConfig,
    match_adaptively,
    matching_loss,
)

LAYERS = 4
COUNTS = (30, 36)
SHARED = 20


def make(position_dim: int = 3, seed: int = 0) -> LightGlue:
    torch.manual_seed(seed)
    config = LightGlueConfig(
        descriptor_dim=8, position_dim=position_dim, dim=32, heads=2, layers=LAYERS
    )
    return LightGlue(config)


def sides(position_dim: int, seed: int) -> tuple[tuple, tuple, Tensor]:
    """Two described sets of points of which some are common, and each row's partner."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    descriptors = [normal(n, 8) for n in COUNTS]
    positions = [3 * normal(n, position_dim) for n in COUNTS]
    columns = torch.randperm(COUNTS[1], generator=generator)[:SHARED]
    descriptors[0][:SHARED] = descriptors[1][columns] + 0.1 * normal(SHARED, 8)
    positions[0][:SHARED] = positions[1][columns] + 0.1 * normal(SHARED, position_dim)
    partner = torch.full((COUNTS[0],), -1)
    partner[:SHARED] = columns
    return tuple(descriptors), tuple(positions), partner


@functools.cache
def trained(position_dim: int) -> LightGlue:
    """Return a matcher that has learned to find equal descriptors, and when it knows."""
    model = make(position_dim)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(200):
        many = [sides(position_dim, 4 * step + row) for row in range(4)]
        descriptors = tuple(torch.stack([one[0][side] for one in many]) for side in (0, 1))
        positions = tuple(torch.stack([one[1][side] for one in many]) for side in (0, 1))
        loss = matching_loss(model(descriptors, positions), torch.stack([one[2] for one in many]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def last_layer(model: LightGlue, descriptors: tuple, positions: tuple) -> dict:
    """Return the mutual choices of the full forward pass, one after the other."""
    with torch.no_grad():
        output = model(
            tuple(side[None] for side in descriptors), tuple(side[None] for side in positions)
        )
    chance = output.log_assignment[-1][0, :-1, :-1].exp()
    found = {}
    for row in range(len(chance)):
        column = int(chance[row].argmax())
        if int(chance[:, column].argmax()) == row:
            found[row, column] = float(chance[row, column])
    return found


def as_dict(pairs: Tensor, probability: Tensor) -> dict:
    return {(int(a), int(b)): float(p) for (a, b), p in zip(pairs, probability, strict=True)}


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("seed", [1, 2])
def test_without_confidences_it_is_the_mutual_choice_of_the_last_layer(dim: int, seed: int):
    model = make(dim, seed)
    descriptors, positions, _ = sides(dim, seed)
    found = match_adaptively(
        model, descriptors, positions, depth_confidence=None, width_confidence=None
    )
    assert as_dict(found.pairs, found.probability) == pytest.approx(
        last_layer(model, descriptors, positions)
    )
    assert len(found.pairs) > 3
    assert found.layers == LAYERS
    assert found.kept == COUNTS


@pytest.mark.slow
@pytest.mark.parametrize("dim", [2, 3])
def test_an_easy_pair_takes_fewer_layers_and_has_the_same_matches(dim: int):
    model = trained(dim)
    same, whole, layers = 0, 0, []
    for seed in range(90_000, 90_010):
        descriptors, positions, partner = sides(dim, seed)
        found = match_adaptively(model, descriptors, positions)
        expected = last_layer(model, descriptors, positions)
        sure = {pair for pair, chance in expected.items() if chance > 0.2}
        kept = {
            pair for pair, chance in as_dict(found.pairs, found.probability).items() if chance > 0.2
        }
        same += len(sure & kept)
        whole += len(sure | kept)
        layers.append(found.layers)
        right = {(row, int(column)) for row, column in enumerate(partner) if column >= 0}
        assert len(kept & right) >= 0.9 * SHARED
    assert same >= 0.95 * whole
    assert sum(layers) < LAYERS * len(layers)


@pytest.mark.slow
def test_points_without_partner_are_left_out_and_the_matches_stay():
    model = trained(3)
    pruned = 0
    for seed in range(91_000, 91_005):
        descriptors, positions, partner = sides(3, seed)
        found = match_adaptively(
            model, descriptors, positions, depth_confidence=None, width_confidence=0.9
        )
        pruned += sum(COUNTS) - sum(found.kept)
        right = {(row, int(column)) for row, column in enumerate(partner) if column >= 0}
        assert len(right & set(as_dict(found.pairs, found.probability))) >= 0.9 * SHARED
        assert found.layers == LAYERS
    assert pruned > 0


class Said(nn.Module):
    """Confidences of one layer that do not depend on the points."""

    def __init__(self, *sides: Tensor) -> None:
        super().__init__()
        self.sides = sides

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        return tuple(side[None] for side in self.sides)


def say(model: LightGlue, layer: int, unsure: int) -> None:
    """Let a layer be sure of all points but the first ones of the first side."""
    bound = 0.8 + 0.1 * math.exp(-4 * layer / LAYERS)
    chances = [torch.full((n,), bound + 0.01) for n in COUNTS]
    chances[0][:unsure] = bound - 0.01
    model.confidences[layer] = Said(*chances)


@pytest.mark.parametrize(("unsure", "layers"), [(3, 2), (4, 3)])
def test_it_stops_where_so_many_points_are_sure(unsure: int, layers: int):
    # Of 66 points, 95 % are 62.7.
    model = make()
    say(model, 0, COUNTS[0])
    say(model, 1, unsure)
    say(model, 2, 0)
    descriptors, positions, _ = sides(3, 5)
    found = match_adaptively(model, descriptors, positions, width_confidence=None)
    assert found.layers == layers
    with torch.no_grad():
        output = model(
            tuple(side[None] for side in descriptors), tuple(side[None] for side in positions)
        )
    scores = output.log_assignment[layers - 1][0, :-1, :-1]
    rows, columns = found.pairs.T
    torch.testing.assert_close(found.probability, scores[rows, columns].exp())
    assert (scores.argmax(dim=1)[rows] == columns).all()
    assert (scores.argmax(dim=0)[columns] == rows).all()


def test_unsure_points_stay_however_unlikely_a_partner_is():
    model = make()
    for layer in range(LAYERS - 1):
        say(model, layer, 7)
        nn.init.zeros_(model.assignments[layer].matchability.weight)
        nn.init.constant_(model.assignments[layer].matchability.bias, -9.0)
    descriptors, positions, _ = sides(3, 5)
    found = match_adaptively(model, descriptors, positions, depth_confidence=None)
    assert found.kept == (7, 0)
    assert found.layers == 1
    assert found.pairs.shape == (0, 2)
    assert found.probability.shape == (0,)


@pytest.mark.parametrize("empty", [0, 1])
def test_a_side_without_points_has_no_matches(empty: int):
    descriptors, positions, _ = sides(3, 5)
    described, placed = list(descriptors), list(positions)
    described[empty], placed[empty] = described[empty][:0], placed[empty][:0]
    found = match_adaptively(make(), tuple(described), tuple(placed))
    assert found.pairs.shape == (0, 2)
    assert found.kept[empty] == 0
    assert found.layers == 0


def test_what_does_not_fit_is_refused():
    descriptors, positions, _ = sides(3, 5)
    with pytest.raises(InputError, match="length 8"):
        match_adaptively(make(), (descriptors[0][:, :4], descriptors[1]), positions)
    with pytest.raises(InputError, match="2 coordinates"):
        match_adaptively(make(2), descriptors, positions)
