import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.pairs import PairSet, as_bytes


@pytest.fixture
def pairs() -> PairSet:
    rng = np.random.default_rng(0)
    two_photon, fmost = rng.random((2, 5, 20, 20), dtype=np.float32)
    return PairSet(two_photon, fmost, np.array([0, 0, 1, 1, 2]))


def test_saved_pairs_come_back_to_a_grey_level(pairs, tmp_path):
    path = tmp_path / "pairs.npz"
    pairs.save(path)
    loaded = PairSet.load(path)
    assert len(loaded) == len(pairs) == 5
    for side in ("two_photon", "fmost"):
        assert getattr(loaded, side).dtype == np.float32
        assert np.abs(getattr(loaded, side) - getattr(pairs, side)).max() <= 1 / 255
    assert loaded.scene.dtype == np.int64
    assert np.array_equal(loaded.scene, pairs.scene)


def test_saving_takes_the_place_of_an_older_file_and_leaves_nothing_else(pairs, tmp_path):
    path = tmp_path / "pairs.npz"
    path.write_text("older")
    pairs.save(path)
    assert len(PairSet.load(path)) == 5
    assert [found.name for found in tmp_path.iterdir()] == ["pairs.npz"]


def test_float_crops_of_others_are_read_as_they_are(tmp_path):
    crops = np.random.default_rng(0).random((3, 150, 150)).astype(np.float16)
    np.savez(tmp_path / "theirs.npz", two_photon=crops, fmost=crops, scene=np.zeros(3))
    assert np.array_equal(PairSet.load(tmp_path / "theirs.npz").fmost, crops.astype(np.float32))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"two_photon": np.zeros((2, 5, 5)), "scene": np.zeros(2)}, "lacks an array"),
        (
            {"two_photon": np.zeros((2, 5, 5)), "fmost": np.zeros((3, 5, 5)), "scene": np.zeros(2)},
            "of one shape",
        ),
        (
            {"two_photon": np.zeros((2, 5, 5)), "fmost": np.zeros((2, 5, 5)), "scene": np.zeros(3)},
            "of one shape",
        ),
        (
            {"two_photon": np.zeros((2, 5)), "fmost": np.zeros((2, 5)), "scene": np.zeros(2)},
            "of one shape",
        ),
        (
            {
                "two_photon": np.zeros((2, 5, 5)),
                "fmost": np.zeros((2, 5, 5)),
                "scene": np.zeros(2),
                "center_um": np.zeros((2, 2)),
            },
            "center_um of shape",
        ),
        (
            {"two_photon": np.array([{}]), "fmost": np.zeros(1), "scene": np.zeros(1)},
            "readable npz",
        ),
    ],
)
def test_bad_files_of_pairs_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=message):
        PairSet.load(tmp_path / "bad.npz")


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        PairSet.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("not a zip")
    with pytest.raises(InputError, match="readable npz"):
        PairSet.load(tmp_path / "text.npz")
    (tmp_path / "empty.npz").write_bytes(b"")
    with pytest.raises(InputError, match="readable npz"):
        PairSet.load(tmp_path / "empty.npz")


def test_a_file_cut_short_is_refused(pairs, tmp_path):
    path = tmp_path / "pairs.npz"
    pairs.save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="readable npz"):
        PairSet.load(path)


def test_a_single_array_is_no_file_of_pairs(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros((2, 5, 5)))
    with pytest.raises(InputError, match="readable npz"):
        PairSet.load(tmp_path / "one.npy")


def test_places_of_cells_are_kept_and_older_files_have_none(pairs, tmp_path):
    pairs.save(tmp_path / "without.npz")
    assert PairSet.load(tmp_path / "without.npz").center_um is None
    center_um = np.random.default_rng(0).uniform(0, 300, (5, 3))
    known = PairSet(pairs.two_photon, pairs.fmost, pairs.scene, center_um)
    known.save(tmp_path / "with.npz")
    assert np.array_equal(PairSet.load(tmp_path / "with.npz").center_um, center_um)


def test_some_of_the_pairs_by_index_or_mask(pairs):
    center_um = np.arange(15.0).reshape(5, 3)
    known = PairSet(pairs.two_photon, pairs.fmost, pairs.scene, center_um)
    by_index, by_mask = known.take(np.array([3, 1])), known.take(known.scene == 1)
    assert by_index.scene.tolist() == [1, 0]
    assert np.array_equal(by_index.fmost, pairs.fmost[[3, 1]])
    assert np.array_equal(by_index.center_um, center_um[[3, 1]])
    assert np.array_equal(by_mask.two_photon, pairs.two_photon[2:4])
    assert pairs.take(np.array([0])).center_um is None


def test_joined_sets_share_no_scene(pairs):
    center_um = np.arange(15.0).reshape(5, 3)
    known = PairSet(pairs.two_photon, pairs.fmost, pairs.scene + 7, center_um)
    joined = PairSet.joined([known, known])
    assert joined.scene.tolist() == [0, 0, 1, 1, 2, 3, 3, 4, 4, 5]
    assert np.array_equal(joined.center_um, np.concatenate([center_um, center_um]))
    assert np.array_equal(joined.fmost[5:], pairs.fmost)
    assert PairSet.joined([known, pairs]).center_um is None


def test_only_what_is_nought_is_stored_as_nought():
    rng = np.random.default_rng(2)
    crops = np.where(rng.random((4, 9, 9)) < 0.5, 0, rng.random((4, 9, 9)) ** 8)
    stored = as_bytes(crops)
    assert np.array_equal(stored > 0, crops > 0)
    usual = crops * 255 >= 1
    np.testing.assert_allclose(stored[usual], crops[usual] * 255, atol=0.5)
