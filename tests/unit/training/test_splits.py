import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.training.splits import check_pairs, check_split, split_pairs


def parts_of(split):
    return split.train, split.validation, split.test


def pairs(n, seed=0, pixels=8):
    rng = np.random.default_rng(seed)
    crops = rng.random((2, n, pixels, pixels), dtype=np.float32)
    return PairSet(crops[0], crops[1], np.zeros(n, dtype=np.int64))


def test_the_papers_scenes_are_split_as_in_the_paper():
    scene = np.repeat([7, 3, 5, 9, 1], [64, 53, 64, 30, 62])
    split = split_pairs(scene, seed=4)
    assert [len(part) for part in parts_of(split)] == [190, 30, 53]
    assert set(scene[split.validation]) == {9}
    assert set(scene[split.test]) == {3}
    assert split.whole_scenes


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=12), seed=st.integers(0, 5))
def test_every_pair_is_in_one_part_and_no_scene_in_two_if_there_are_three(counts, seed):
    scene = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)) * 3, counts))
    if len(scene) < 2:
        return
    split = split_pairs(scene, seed=seed)
    everything = np.concatenate(parts_of(split))
    assert sorted(everything) == list(range(len(scene)))
    assert len(split.train) > 0
    assert len(split.test) > 0
    scenes = [set(scene[part]) for part in parts_of(split)]
    assert split.whole_scenes == (len(counts) >= 3)
    if split.whole_scenes:
        assert sum(map(len, scenes)) == len(counts)


def test_many_scenes_keep_the_proportions():
    scene = np.repeat(np.arange(60), 20)
    split = split_pairs(scene)
    shares = np.array([len(part) for part in parts_of(split)]) / len(scene)
    assert shares == pytest.approx(np.array([190, 30, 53]) / 273, abs=0.02)


def test_one_scene_is_split_by_pair_and_the_split_says_so():
    split = split_pairs(np.zeros(273, dtype=int))
    assert [len(part) for part in parts_of(split)] == [190, 30, 53]
    assert not split.whole_scenes
    assert not np.array_equal(split.test, split_pairs(np.zeros(273, dtype=int), seed=1).test)


@pytest.mark.parametrize(("n", "sizes"), [(2, [1, 0, 1]), (3, [1, 1, 1]), (6, [3, 2, 1])])
def test_few_pairs_leave_no_part_without_what_it_needs(n, sizes):
    assert [len(part) for part in parts_of(split_pairs(np.zeros(n, dtype=int)))] == sizes


@pytest.mark.parametrize(("n", "words"), [(0, "there are none"), (1, "there is one")])
def test_fewer_than_two_pairs_are_refused(n, words):
    with pytest.raises(InputError, match=words):
        split_pairs(np.zeros(n, dtype=int))


@pytest.mark.parametrize("shares", [{"train": 0}, {"test": -1}])
def test_senseless_shares_are_refused(shares):
    with pytest.raises(InputError, match="share"):
        split_pairs(np.zeros(9, dtype=int), **shares)


def test_good_pairs_pass():
    check_pairs(pairs(3), crop_pixels=8)
    check_split(pairs(3), pairs(3, seed=1))


def test_one_pair_is_too_few():
    with pytest.raises(InputError, match="at least 2 pairs"):
        check_pairs(pairs(1))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("side", ["two_photon", "fmost"])
def test_crops_that_are_not_finite_are_named(side, value):
    broken = pairs(4)
    getattr(broken, side)[2, 0, 3] = value
    name = {"two_photon": "two-photon", "fmost": "fMOST"}[side]
    with pytest.raises(InputError, match=f"the {name} crop of pair 2 .*not finite"):
        check_pairs(broken)


def test_another_crop_size_is_refused():
    with pytest.raises(InputError, match=r"wants crops of 150 x 150 pixels .* have 8 x 8"):
        check_pairs(pairs(3), crop_pixels=150)


def test_the_same_pair_twice_is_refused():
    with pytest.raises(InputError, match="pairs 1 and 3 are the same pair"):
        check_pairs(pairs(3).take(np.array([0, 1, 2, 1])))


def test_a_pair_in_two_parts_is_refused():
    whole = pairs(5)
    with pytest.raises(InputError, match="pair 0 of the test part is pair 2 of the training part"):
        check_split(whole.take(np.arange(3)), whole.take(np.arange(2, 5)), what="test")
