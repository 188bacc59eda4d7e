import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.subsets import (
    SubsetConfig,
    draw_subsets,
    mean_over_subsets,
)


def places(count: int, dims: int = 2, seed: int = 0) -> torch.Tensor:
    return 300 * torch.rand(count, dims, generator=torch.Generator().manual_seed(seed))


def draw(source: torch.Tensor, seed: int = 0, **changes: object) -> torch.Tensor:
    return draw_subsets(source, SubsetConfig(**changes), torch.Generator().manual_seed(seed))


@given(
    count=st.integers(3, 150),
    size=st.integers(3, 6),
    per_match=st.integers(1, 9),
    total=st.integers(1, 400),
    local=st.floats(0, 1),
    dims=st.sampled_from([2, 3]),
    seed=st.integers(0, 9),
)
def test_every_match_is_in_about_the_same_number_of_subsets(
    count: int, size: int, per_match: int, total: int, local: float, dims: int, seed: int
) -> None:
    if count < size:
        return
    subsets = draw(
        places(count, dims, seed),
        seed,
        size=size,
        per_match=per_match,
        count=total,
        local=local,
    )
    rounds = max(per_match, total // -(-count // size))
    assert subsets.shape == (rounds * -(-count // size), size)
    assert all(len(set(row)) == size for row in subsets.tolist())
    often = torch.bincount(subsets.flatten(), minlength=count)
    assert len(often) == count
    assert often.min() >= rounds >= per_match
    assert often.max() <= (rounds if count % size == 0 else 2 * rounds)


def test_the_stated_number_of_subsets_is_come_close_to() -> None:
    assert len(draw(places(1024), count=4096)) == 4096
    assert 4000 < len(draw(places(300), count=4096)) <= 4096
    assert len(draw(places(1000), count=10, per_match=20)) == 5000


def test_the_same_generator_gives_the_same_subsets() -> None:
    source = places(90)
    assert torch.equal(draw(source, seed=3), draw(source, seed=3))
    assert not torch.equal(draw(source, seed=3), draw(source, seed=4))


@pytest.mark.parametrize("dims", [2, 3])
def test_local_subsets_are_neighbours_and_the_others_are_not(dims: int) -> None:
    source = places(600, dims)
    extent = [
        torch.pdist(source[row]).max() for row in draw(source, local=1.0, per_match=4, count=1)
    ]
    anywhere = [
        torch.pdist(source[row]).max() for row in draw(source, local=0.0, per_match=4, count=1)
    ]
    # A cell of 12 of 600 is 0.14 (0.27) of the field wide.
    assert (
        torch.stack(extent).median() < (0.4 if dims == 2 else 0.65) * torch.stack(anywhere).median()
    )


def test_half_of_the_rounds_can_be_local() -> None:
    source = places(400)
    extent = torch.stack(
        [torch.pdist(source[row]).max() for row in draw(source, local=0.5, per_match=10, count=1)]
    )
    # Rounds of neighbours come first.
    assert extent[:500].median() < 0.5 * extent[500:].median()


def test_neighbours_are_dealt_otherwise_in_each_round() -> None:
    subsets = draw(places(200), local=1.0, per_match=10, count=1)
    met = {frozenset(row) for row in subsets.tolist()}
    assert len(met) > 0.9 * len(subsets)


def test_matches_at_one_place_are_dealt_too() -> None:
    subsets = draw(torch.ones(20, 2), per_match=3, count=1)
    assert torch.bincount(subsets.flatten()).tolist() == [3] * 20


def test_too_few_matches_are_refused() -> None:
    with pytest.raises(InputError, match="Subsets of 4 matches cannot be drawn from 3"):
        draw(places(3))


@given(count=st.integers(4, 40), seed=st.integers(0, 9))
def test_the_mean_of_a_match_is_that_of_its_subsets(count: int, seed: int) -> None:
    subsets = draw(places(count), seed, per_match=3, count=1)
    values = torch.rand(len(subsets), generator=torch.Generator().manual_seed(seed))
    found = mean_over_subsets(values, subsets, count)
    for match in range(count):
        own = [v for v, row in zip(values.tolist(), subsets.tolist(), strict=True) if match in row]
        assert float(found[match]) == pytest.approx(sum(own) / len(own), abs=1e-6)
