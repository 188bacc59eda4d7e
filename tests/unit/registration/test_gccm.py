from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.model_folder import ModelFolder
from napari_neurobridge.registration.common_frame import LEVELS, CommonFrame, common_frame
from napari_neurobridge.registration.gccm import (
    Gccm,
    GccmConfig,
    InlierResponse,
    consistency_loss,
    load_gccm,
    save_gccm,
)
from napari_neurobridge.registration.subsets import SubsetConfig, draw_subsets

DIMS = [2, 3]


def make(dims: int, size: int = 4) -> Gccm:
    torch.manual_seed(0)
    subsets = SubsetConfig(size=size, count=40, per_match=4)
    return Gccm(GccmConfig(position_dim=dims, hidden=16, subsets=subsets))


def matches(dims: int, count: int = 30, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    source = 100 * torch.rand(count, dims, generator=generator)
    return source, source + 8 * torch.randn(count, dims, generator=generator)


def rotation(dims: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(dims, dims, generator=generator)).Q
    turn[0] *= torch.linalg.det(turn).sign()
    return turn


def framed(
    model: Gccm, source: torch.Tensor, target: torch.Tensor
) -> tuple[CommonFrame, torch.Tensor]:
    """Return what `Gccm.confidence` draws with the seed 2."""
    generator = torch.Generator().manual_seed(2)
    frame = common_frame(source, target, generator)
    return frame, draw_subsets(source, frame.weight, model.config.subsets, generator)


def as_it_is(source: torch.Tensor, target: torch.Tensor) -> CommonFrame:
    """Return a frame in which nothing is taken off."""
    shift = (target - source)[:, None].expand(-1, LEVELS, -1)
    ones = torch.ones(len(source))
    return CommonFrame(target, shift, ones, ones[:, None].expand(-1, LEVELS))


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("size", [3, 4, 5])
def test_the_order_of_companions_does_not_matter(dims: int, size: int) -> None:
    model = make(dims, size)
    source, target = matches(dims)
    orders = torch.tensor([(0, *order) for order in permutations(range(1, size))])
    subset = torch.tensor([3, 14, 15, 9, 26])[:size]
    logits = model(source, as_it_is(source, target), subset[orders])
    assert torch.allclose(logits, logits[0].expand_as(logits), atol=1e-5)
    # Who is judged does.
    other = model(source, as_it_is(source, target), subset.roll(1)[None])
    assert (other - logits[0]).abs() > 1e-5


@pytest.mark.parametrize("dims", DIMS)
def test_the_target_may_be_moved_turned_and_scaled(dims: int) -> None:
    model = make(dims)
    source, target = matches(dims)
    found, again = (
        model.confidence(source, side, torch.Generator().manual_seed(2))
        for side in (target, 1.2 * target @ rotation(dims, 4) - 20)
    )
    assert torch.allclose(found, again, atol=5e-3)


@pytest.mark.parametrize("dims", DIMS)
def test_mirroring_or_scaling_both_sides_matters(dims: int) -> None:
    model = make(dims)
    source, target = matches(dims)
    _, subsets = framed(model, source, target)
    mirror = torch.ones(dims)
    mirror[0] = -1
    same = model(source, as_it_is(source, source), subsets)
    mirrored = model(source, as_it_is(source, source * mirror), subsets)
    larger = model(2 * source, as_it_is(2 * source, 2 * source), subsets)
    assert (same - mirrored).abs().min() > 1e-4
    assert (same - larger).abs().min() > 1e-4


@pytest.mark.parametrize("dims", DIMS)
def test_each_match_has_the_mean_of_the_subsets_that_judge_it(dims: int) -> None:
    model = make(dims).eval()
    source, target = matches(dims)
    found = model.confidence(source, target, torch.Generator().manual_seed(2))
    frame, subsets = framed(model, source, target)
    with torch.no_grad():
        chance = [float(torch.sigmoid(model(source, frame, row[None]))[0]) for row in subsets]
    for match in range(len(source)):
        own = [p for p, row in zip(chance, subsets.tolist(), strict=True) if row[0] == match]
        assert found[match].item() == pytest.approx(np.mean(own), abs=1e-5)


@pytest.mark.parametrize("dims", DIMS)
def test_other_numbers_of_subsets_can_be_asked_for(dims: int) -> None:
    model = make(dims).eval()
    source, target = matches(dims)
    more = model.config.subsets.model_copy(update={"per_match": 200})
    with torch.no_grad():
        many = [
            model.confidence(source, target, torch.Generator().manual_seed(s), more) for s in (1, 2)
        ]
        few = [model.confidence(source, target, torch.Generator().manual_seed(s)) for s in (1, 2)]
    assert (many[0] - many[1]).abs().mean() < (few[0] - few[1]).abs().mean()


@pytest.mark.parametrize("dims", DIMS)
def test_the_loss_is_that_of_the_means_and_reaches_all_parameters(dims: int) -> None:
    model = make(dims)
    source, target = matches(dims)
    frame, subsets = framed(model, source, target)
    right = torch.arange(30) % 3 > 0
    logits = model(source, frame, subsets)
    loss = consistency_loss(logits, subsets, right)
    chance = logits.sigmoid().tolist()
    expected = []
    for match, truth in enumerate(right.tolist()):
        own = [p for p, row in zip(chance, subsets.tolist(), strict=True) if row[0] == match]
        expected.append(-np.log(np.mean(own) if truth else 1 - np.mean(own)))
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-4)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("dims", DIMS)
def test_matches_at_one_place_have_a_score(dims: int) -> None:
    model = make(dims)
    source = torch.ones(12, dims)
    source[6:] = 40
    frame, subsets = framed(model, source, source.flip(0))
    logits = model(source, frame, subsets)
    consistency_loss(logits, subsets, torch.arange(12) % 2 > 0).backward()
    assert logits.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_shapes_that_do_not_fit_are_refused() -> None:
    model = make(2)
    source, target = matches(2)
    frame, subsets = framed(model, source, target)
    with pytest.raises(InputError, match="two places of 2 coordinates"):
        model(matches(3)[0], as_it_is(*matches(3)), subsets)
    with pytest.raises(InputError, match="two places of 2 coordinates"):
        model(source[:-1], frame, subsets)
    with pytest.raises(InputError, match="must hold 4 matches"):
        model(source, frame, torch.tensor([[0, 1, 2]]))


def test_what_is_no_configuration_is_refused() -> None:
    with pytest.raises(ValidationError):
        GccmConfig(position_dim=4)
    with pytest.raises(ValidationError):
        GccmConfig(layers=3)
    row = InlierResponse(inlier_ratio=0.5, mean=0.4, tau=0.4, width=0.1)
    with pytest.raises(ValidationError, match="rise"):
        GccmConfig(responses=(row, row.model_copy(update={"inlier_ratio": 0.6})))


@pytest.mark.parametrize("dims", DIMS)
def test_saved_weights_come_back(tmp_path: Path, dims: int) -> None:
    row = InlierResponse(inlier_ratio=0.5, mean=0.4, tau=0.4, width=0.1)
    model = make(dims)
    model = Gccm(model.config.model_copy(update={"tau": 0.3, "responses": (row,)})).eval()
    save_gccm(model, tmp_path / "model")
    stored = load_gccm(tmp_path / "model")
    assert stored.config == model.config
    source, target = matches(dims)
    frame, subsets = framed(model, source, target)
    assert torch.equal(stored(source, frame, subsets), model(source, frame, subsets))
    assert not stored.training


def test_damaged_or_foreign_weights_are_refused(tmp_path: Path) -> None:
    model = make(2)
    folder = save_gccm(model, tmp_path / "model")
    tensors = load_file(folder.weights())
    tensors.pop("layers.0.bias")
    other = ModelFolder.create(tmp_path / "other", model.config.model_dump(), save(tensors))
    with pytest.raises(InputError, match="do not fit its configuration"):
        load_gccm(other.path)
    noise = ModelFolder.create(tmp_path / "noise", model.config.model_dump(), b"noise")
    with pytest.raises(InputError, match="are damaged"):
        load_gccm(noise.path)
    encoder = ModelFolder.create(tmp_path / "encoder", {"kind": "encoder"}, b"")
    with pytest.raises(InputError, match="not 'gccm'"):
        load_gccm(encoder.path)
