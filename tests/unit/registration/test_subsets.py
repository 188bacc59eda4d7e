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


def draw(
    source: torch.Tensor, seed: int = 0, weight: torch.Tensor | None = None, **changes: object
) -> torch.Tensor:
    weight = torch.ones(len(source)) if weight is None else weight
    generator = torch.Generator().manual_seed(seed)
    return draw_subsets(source, weight, SubsetConfig(**changes), generator)


@given(
    count=st.integers(3, 150),
    size=st.integers(3, 6),
    per_match=st.integers(1, 9),
    total=st.integers(1, 400),
    local=st.floats(0, 1),
    dims=st.sampled_from([2, 3]),
    seed=st.integers(0, 9),
)
def test_every_match_is_judged_equally_often(
    count: int, size: int, per_match: int, total: int, local: float, dims: int, seed: int
) -> None:
    if count < size:
        return
    changes = {"size": size, "per_match": per_match, "count": total, "local": local}
    weight = places(count, 1, seed + 1)[:, 0] / 300
    subsets = draw(places(count, dims, seed), seed, weight, **changes)
    rounds = max(per_match, total // count)
    assert subsets.shape == (rounds * count, size)
    assert all(len(set(row)) == size for row in subsets.tolist())
    assert subsets[:, 0].tolist() == list(range(count)) * rounds


def test_the_stated_number_of_subsets_is_kept() -> None:
    assert len(draw(places(1024), count=4096)) == 4096
    assert 3800 < len(draw(places(300), count=4096)) <= 4096
    assert len(draw(places(1000), count=10, per_match=20)) == 20000


def test_the_same_generator_gives_the_same_subsets() -> None:
    source = places(90)
    assert torch.equal(draw(source, seed=3), draw(source, seed=3))
    assert not torch.equal(draw(source, seed=3), draw(source, seed=4))


@pytest.mark.parametrize("local", [0.0, 1.0])
def test_companions_are_drawn_in_proportion_to_their_weight(local: float) -> None:
    weight = torch.where(torch.arange(200) % 2 > 0, 0.9, 0.1)
    companions = draw(places(200), weight=weight, local=local, per_match=60, count=1)[:, 1:]
    odd = (companions % 2 > 0).float()
    # The first draw is exactly in proportion; without replacement, the later ones are less so.
    assert 0.75 < float(odd.mean()) < 0.92
    even = draw(places(200), local=local, per_match=60, count=1)[:, 1:]
    assert float((even % 2 > 0).float().mean()) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("dims", [2, 3])
def test_local_companions_are_neighbours_and_the_others_are_not(dims: int) -> None:
    source = places(600, dims)
    near, anywhere = (
        torch.stack(
            [
                torch.pdist(source[row]).max()
                for row in draw(source, local=local, per_match=4, count=1)
            ]
        ).median()
        for local in (1.0, 0.0)
    )
    # A cell of 24 of 600 is 0.2 (0.34) of the field wide.
    assert near < (0.4 if dims == 2 else 0.65) * anywhere


def test_half_of_the_rounds_can_be_local() -> None:
    source = places(400)
    extent = torch.stack(
        [torch.pdist(source[row]).max() for row in draw(source, local=0.5, per_match=10, count=1)]
    )
    # Rounds of neighbours come first.
    assert extent[:2000].median() < 0.5 * extent[2000:].median()


def test_companions_change_from_round_to_round() -> None:
    subsets = draw(places(200), local=1.0, per_match=10, count=1)
    met = {frozenset(row) for row in subsets.tolist()}
    assert len(met) > 0.8 * len(subsets)


def test_matches_at_one_place_are_judged_too() -> None:
    subsets = draw(torch.ones(20, 2), per_match=3, count=1)
    assert torch.bincount(subsets[:, 0]).tolist() == [3] * 20


def test_too_few_matches_are_refused() -> None:
    with pytest.raises(InputError, match="Subsets of 4 matches cannot be drawn from 3"):
        draw(places(3))


@given(count=st.integers(4, 40), seed=st.integers(0, 9))
def test_the_mean_of_a_match_is_that_of_the_subsets_that_judge_it(count: int, seed: int) -> None:
    subsets = draw(places(count), seed, per_match=3, count=1)
    values = torch.rand(len(subsets), generator=torch.Generator().manual_seed(seed))
    found = mean_over_subsets(values, subsets, count)
    for match in range(count):
        own = [
            v for v, row in zip(values.tolist(), subsets.tolist(), strict=True) if row[0] == match
        ]
        assert float(found[match]) == pytest.approx(sum(own) / len(own), abs=1e-6)
