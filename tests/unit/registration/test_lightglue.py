import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.lightglue import (
    LightGlue,
    LightGlueConfig,
    LightGlueOutput,
    decided,
    matching_loss,
)

SIZES = (9, 13)


def make(position_dim: int = 3, layers: int = 2) -> LightGlue:
    torch.manual_seed(0)
    config = LightGlueConfig(
        descriptor_dim=6, position_dim=position_dim, dim=16, heads=2, layers=layers
    )
    return LightGlue(config)


def sides(position_dim: int, batch: int = 2, seed: int = 1) -> tuple[tuple, tuple]:
    generator = torch.Generator().manual_seed(seed)
    descriptors = tuple(torch.randn(batch, n, 6, generator=generator) for n in SIZES)
    positions = tuple(3 * torch.randn(batch, n, position_dim, generator=generator) for n in SIZES)
    return descriptors, positions


def last(matcher: LightGlue, descriptors: tuple, positions: tuple) -> Tensor:
    with torch.no_grad():
        return matcher(descriptors, positions, every_layer=False).log_assignment[-1]


@pytest.mark.parametrize("dim", [2, 3])
def test_points_in_another_order_give_the_same_assignment_in_that_order(dim: int):
    matcher = make(dim)
    descriptors, positions = sides(dim)
    expected = last(matcher, descriptors, positions)
    order = torch.randperm(SIZES[0], generator=torch.Generator().manual_seed(2))
    shuffled = ((descriptors[0][:, order], descriptors[1]), (positions[0][:, order], positions[1]))
    rows = torch.cat([order, torch.tensor([SIZES[0]])])
    torch.testing.assert_close(last(matcher, *shuffled), expected[:, rows], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dim", [2, 3])
def test_swapped_sides_give_the_transpose(dim: int):
    matcher = make(dim)
    descriptors, positions = sides(dim)
    swapped = last(matcher, descriptors[::-1], positions[::-1])
    torch.testing.assert_close(
        swapped.transpose(1, 2), last(matcher, descriptors, positions), atol=1e-4, rtol=1e-4
    )


def test_only_differences_of_positions_within_a_side_matter():
    matcher = make()
    descriptors, positions = sides(3)
    moved = (positions[0] + torch.tensor([4.0, -2.0, 1.0]), positions[1] - 3.0)
    expected = last(matcher, descriptors, positions)
    torch.testing.assert_close(last(matcher, descriptors, moved), expected, atol=1e-3, rtol=1e-3)
    turned = (positions[0].flip(2), positions[1])
    assert (last(matcher, descriptors, turned) - expected).abs().max() > 1e-3


def test_each_point_has_at_most_one_probability_to_give_away():
    scores = last(make(), *sides(3)).exp()
    assert (scores[:, :-1].sum(dim=2) <= 1 + 1e-5).all()
    assert (scores[:, :, :-1].sum(dim=1) <= 1 + 1e-5).all()


def test_every_layer_answers_and_learns():
    matcher = make(layers=3)
    output = matcher(*sides(3))
    assert len(output.log_assignment) == 3
    assert len(output.confidence) == 2
    partner = torch.tensor([[3, -1, 0, 5, -1, 1, 2, -1, 7]] * 2)
    matching_loss(output, partner).backward()
    silent = [n for n, p in matcher.named_parameters() if p.grad is None or not p.grad.any()]
    # Added to all similarities of a softmax alike, it changes nothing.
    assert [name for name in silent if "to_qk.bias" not in name] == []


def test_confidence_trains_nothing_but_itself():
    matcher = make()
    output = matcher(*sides(3))
    torch.stack([side.sum() for pair in output.confidence for side in pair]).sum().backward()
    reached = {name.split(".")[0] for name, p in matcher.named_parameters() if p.grad is not None}
    assert reached == {"confidences"}


def test_the_loss_is_the_mean_of_what_is_matched_and_what_is_not():
    scores = torch.full((1, 3, 4), -9.0)
    scores[0, 0, 1] = -0.5
    scores[0, 1, 3] = -0.2
    scores[0, 2, :3] = torch.tensor([-0.1, -7.0, -0.3])
    loss = matching_loss(LightGlueOutput((scores,), ()), torch.tensor([[1, -1]]))
    assert loss.item() == pytest.approx(0.5 * 0.5 + 0.25 * 0.2 + 0.25 * 0.2)


def test_fields_without_any_match_have_a_finite_loss():
    matcher = make()
    loss = matching_loss(matcher(*sides(3)), torch.full((2, SIZES[0]), -1))
    assert torch.isfinite(loss)


def test_training_finds_partners_that_look_alike():
    matcher = make()
    descriptors, positions = sides(3, batch=4)
    partner = torch.stack([torch.randperm(SIZES[1])[: SIZES[0]] for _ in range(4)])
    partner[:, :3] = -1
    for row, columns in enumerate(partner):
        known = columns >= 0
        descriptors[0][row, known] = descriptors[1][row, columns[known]]
    optimizer = torch.optim.Adam(matcher.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss = matching_loss(matcher(descriptors, positions), partner)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    rows, columns = decided(last(matcher, descriptors, positions))
    assert (rows == partner).float().mean() > 0.9
    assert ((columns >= 0).sum(dim=1) >= 5).all()


def test_a_process_wide_switch_stays_as_it_was():
    before = torch.backends.cuda.flash_sdp_enabled()
    make()
    assert torch.backends.cuda.flash_sdp_enabled() == before


def test_what_does_not_fit_is_refused():
    matcher = make()
    descriptors, positions = sides(3)
    with pytest.raises(InputError, match="length 6"):
        matcher((descriptors[0][..., :4], descriptors[1]), positions)
    with pytest.raises(InputError, match="3 coordinates"):
        matcher(descriptors, (positions[0][..., :2], positions[1]))
    with pytest.raises(ValidationError, match="multiple"):
        LightGlueConfig(descriptor_dim=6, dim=18, heads=4)
