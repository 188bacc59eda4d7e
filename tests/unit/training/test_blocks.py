"""Pairs of one brain in blocks: no crop of the test part shows what another part shows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_neurobridge.errors import InputError
from napari_neurobridge.training.blocks import GAP_UM, overlapping, split_in_blocks
from napari_neurobridge.training.splits import Separation


def field(n, size_um, seed=0, stretch=1.0):
    """Cells in a field, and where their partners lie on the other side."""
    rng = np.random.default_rng(seed)
    here = rng.uniform(0, 1, (n, 3)) * (100.0, size_um, size_um)
    return here, here * stretch + rng.normal(0, 5, here.shape)


def squares_overlap(one, other):
    """Whether two crops share a pixel, by the corners of their squares."""
    return all(
        max(a, b) - GAP_UM / 2 < min(a, b) + GAP_UM / 2
        for a, b in zip(one[1:], other[1:], strict=True)
    )


def any_overlap(places, first, second):
    return any(squares_overlap(side[i], side[j]) for side in places for i in first for j in second)


@given(
    n=st.integers(3, 80),
    size=st.floats(50, 2000),
    stretch=st.floats(0.7, 1.3),
    share=st.floats(0, 0.4),
    seed=st.integers(0, 3),
)
@settings(max_examples=60)
def test_what_the_split_says_holds_for_every_two_crops(n, size, stretch, share, seed):
    places = field(n, size, seed, stretch)
    audit = np.random.default_rng(seed).random(n) < share
    if (~audit).sum() < 3:
        return
    split = split_in_blocks(places, audit=audit, seed=seed)
    parts = [split.train, split.validation, split.test, split.audits, split.left_out]
    assert sorted(np.concatenate(parts)) == list(range(n))
    assert not audit[split.train].any()
    assert not audit[split.validation].any()
    assert not audit[split.left_out].any()
    assert len(split.train)
    assert len(split.test)
    if n >= 6 and (~audit).sum() >= 4:
        assert min(len(split.train), len(split.validation), len(split.test)) >= 2
    if split.separation is not Separation.NONE:
        assert len(split.train) >= 2
        assert len(split.validation) >= 2
        assert not any_overlap(places, split.test, [*split.train, *split.validation])
    else:
        assert not len(split.audits)
    if split.separation is Separation.BLOCKS:
        assert not any_overlap(places, split.train, split.validation)


def test_a_large_field_gives_three_blocks_and_keeps_most_of_its_pairs():
    split = split_in_blocks(field(120, 1500.0))
    assert split.separation is Separation.BLOCKS
    assert len(split.test) == 23
    assert len(split.validation) == 13
    assert len(split.train) > 40


def test_a_field_of_a_third_of_a_millimetre_keeps_its_test_block_apart():
    split = split_in_blocks(field(60, 300.0))
    assert split.separation is Separation.TEST_BLOCK
    assert split.whole_scenes
    assert len(split.test) == 12


def test_too_little_tissue_is_dealt_out_and_the_split_says_so():
    split = split_in_blocks(field(30, 150.0))
    assert split.separation is Separation.NONE
    assert not split.whole_scenes


def test_a_side_that_shrank_decides():
    here, _ = field(60, 1500.0)
    assert split_in_blocks((here, here)).separation is Separation.BLOCKS
    assert split_in_blocks((here, here * 0.1)).separation is Separation.NONE


def test_audits_of_too_little_tissue_are_test_pairs():
    audit = np.zeros(40, dtype=bool)
    audit[:8] = True
    split = split_in_blocks(field(40, 100.0), audit=audit)
    assert set(np.flatnonzero(audit)) == set(split.test)


def test_another_seed_is_another_split_and_the_same_seed_the_same():
    places = field(30, 150.0)
    first, again, other = (split_in_blocks(places, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.test, again.test)
    assert not np.array_equal(first.test, other.test)


def test_overlap_is_that_of_the_squares():
    places = field(50, 600.0)
    others = [side[:5] for side in places]
    expected = [any_overlap(places, [row], range(5)) for row in range(50)]
    assert overlapping(places, others).tolist() == expected


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_pairs_are_refused(n):
    with pytest.raises(InputError, match="needs at least 2 pairs that answer no random check"):
        split_in_blocks(field(n, 100.0))
