from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.morphology import read_swc
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.levels import Difficulty, level
from napari_neurobridge.simulation.pairs import BlockKeys, simulate_block, simulate_pairs

# Small blocks, in which nearly every cell is seen, and all that could give a pair away.
NUISANCE = level("easy").changed(
    two_photon_label={"visible_fraction": 1.0},
    fmost_label={"labelled_fraction": 1.0},
    two_photon={"photons": 15.0},
    fmost={"photons": 30.0, "stripes": 0.1, "section_step": 0.1, "shading": 0.4},
    crops={"centring_um": 6.0, "border_fraction": 0.3},
)
SESSIONS, CELLS = 40, 2
Features = Callable[[np.ndarray, np.ndarray], np.ndarray]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pairs() -> PairSet:
    return simulate_pairs(20, seed=5, level="easy", cells_per_scene=10)


def standardised(crops: np.ndarray) -> np.ndarray:
    """Return crops pooled by five, each with mean 0 and length 1."""
    pooled = crops.reshape(len(crops), 30, 5, 30, 5).mean(axis=(2, 4)).reshape(len(crops), -1)
    pooled = pooled - pooled.mean(axis=1, keepdims=True)
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def test_crops_have_the_promised_form(pairs):
    for side in (pairs.two_photon, pairs.fmost):
        assert side.shape == (20, 150, 150)
        assert side.dtype == np.float32
        assert side.min() == 0.0
        assert side.max() == 1.0
        assert (side.std(axis=(1, 2)) > 0.05).all()
    assert pairs.scene.dtype == np.int64
    assert np.bincount(pairs.scene).tolist() == [10, 10]


def test_cells_lie_where_their_crops_say(pairs):
    assert pairs.center_um.shape == (20, 3)
    pixel_um = 0.8
    gains = []
    for a in range(20):
        for b in range(a):
            depth, *plane = pairs.center_um[b] - pairs.center_um[a]
            if pairs.scene[a] != pairs.scene[b] or abs(depth) > 12 or max(np.abs(plane)) > 60:
                continue
            y, x = (round(offset / pixel_um) for offset in plane)
            # What crop a shows at b's place and what crop b shows of itself.
            first = pairs.fmost[a][max(0, y) : 150 + min(0, y), max(0, x) : 150 + min(0, x)]
            second = pairs.fmost[b][max(0, -y) : 150 + min(0, -y), max(0, -x) : 150 + min(0, -x)]
            still = np.corrcoef(pairs.fmost[a].ravel(), pairs.fmost[b].ravel())[0, 1]
            gains.append(np.corrcoef(first.ravel(), second.ravel())[0, 1] - still)
    assert len(gains) >= 5
    assert np.mean(gains) > 0.3


def test_same_seed_same_pairs_and_more_only_adds():
    few, more = (simulate_pairs(n, seed=1, level="easy", cells_per_scene=2) for n in (2, 3))
    other = simulate_pairs(2, seed=2, level="easy", cells_per_scene=2)
    for side in ("two_photon", "fmost"):
        assert np.array_equal(getattr(few, side), getattr(more, side)[:2])
        assert not np.array_equal(getattr(few, side), getattr(other, side))
    assert more.scene.tolist() == [0, 0, 1]


@pytest.fixture
def threads():
    yield torch.set_num_threads
    torch.set_num_threads(1)


def test_how_many_threads_compute_makes_no_difference(threads):
    made = []
    for count in (1, 2):
        threads(count)
        made.append(simulate_pairs(3, seed=1, level="easy", cells_per_scene=1))
        assert torch.get_num_threads() == count
    for name in ("two_photon", "fmost", "scene"):
        assert np.array_equal(*(getattr(pairs, name) for pairs in made))


def test_real_neurons_can_fill_the_tissue(tmp_path):
    path = tmp_path / "neuron.swc"
    path.write_text("1 1 0 0 0 6 -1\n2 4 0 -60 0 1 1\n3 3 40 10 0 0.6 1\n")
    usual, real = (
        simulate_pairs(2, seed=1, level="easy", cells_per_scene=2, morphologies=morphologies)
        for morphologies in ((), (read_swc(path),))
    )
    assert not np.array_equal(usual.fmost, real.fmost)
    # The same cells in the same places, in other shapes.
    similarity = (standardised(usual.fmost) * standardised(real.fmost)).sum(axis=1)
    assert similarity.min() > 0.3


def test_partners_are_more_alike_than_strangers(pairs):
    for scene in (0, 1):
        chosen = pairs.scene == scene
        similarity = standardised(pairs.two_photon[chosen]) @ standardised(pairs.fmost[chosen]).T
        n = len(similarity)
        strangers = (similarity.sum() - similarity.trace()) / (n * (n - 1))
        assert similarity.diagonal().mean() > strangers + 0.1


def test_the_cell_lies_in_the_middle_of_both_crops(pairs):
    """Somata are bright and about 15 µm wide; crops are centred to a µm along each axis."""
    rows, columns = np.indices((150, 150)) - 74.5
    near = np.hypot(rows, columns) * 0.8 < 5
    around = (np.hypot(rows, columns) * 0.8 > 12) & (np.hypot(rows, columns) * 0.8 < 30)
    for side in (pairs.two_photon, pairs.fmost):
        assert (side[:, near].mean(axis=1) > side[:, around].mean(axis=1)).mean() > 0.9


class Sessions:
    """Crops of blocks of tissue that share all keys of both sides but that of the tissue.

    In session k, ``two_photon[k]`` and ``fmost[k]`` show two cells each of a block A.
    ``two_photon_b[k]`` is of a block B: other cells under the same microscope, with the same
    noise, centring and borders. ``leaking[k]`` is of B too, on an ex-vivo side that was
    given the key of the in-vivo one: a leak made on purpose.
    """

    def __init__(self) -> None:
        first, second = [], []
        for session in range(SESSIONS):
            keys = BlockKeys.of(11, session)
            other = BlockKeys(Key.of(12, session), keys.misfit, keys.in_vivo, keys.in_vivo)
            for blocks, some in ((first, keys), (second, other)):
                blocks.append(simulate_block(NUISANCE, CELLS, some, torch.device("cpu")))
        self.two_photon, self.fmost, _ = (np.stack(part) for part in zip(*first, strict=True))
        self.two_photon_b, self.leaking, _ = (np.stack(part) for part in zip(*second, strict=True))


@pytest.fixture(scope="module")
def sessions() -> Sessions:
    return Sessions()


def flat(sides: np.ndarray) -> np.ndarray:
    return sides.reshape(-1, 150, 150)


def compared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.concatenate([np.abs(first - second), first * second], axis=1)


def pooled(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return differences and products of brightness in 10 x 10 fields."""
    return compared(
        *(
            side.reshape(-1, 10, 15, 10, 15).mean(axis=(2, 4)).reshape(-1, 100)
            for side in (first, second)
        )
    )


def padding(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return differences and products of how much of each row and column is padded."""
    sides = []
    for side in (first, second):
        dark = gaussian_filter(side, (0, 2, 2)) < 1e-3
        sides.append(np.concatenate([dark.mean(axis=1), dark.mean(axis=2)], axis=1)[:, ::5])
    return compared(*sides)


def noise(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return differences and products of the noise: its pixels correlated, and its spectra."""
    sides = [side - gaussian_filter(side, (0, 1.5, 1.5)) for side in (first, second)]
    strength = [side.reshape(-1, 5, 30, 5, 30).std(axis=(2, 4)).reshape(-1, 25) for side in sides]
    together = (sides[0] * sides[1]).reshape(-1, 5, 30, 5, 30).mean(axis=(2, 4)).reshape(-1, 25)
    spectra = [
        np.log(np.abs(np.fft.rfft2(side)).mean(axis=axis) + 1e-3)
        for side in sides
        for axis in (1, 2)
    ]
    rows = compared(spectra[0][:, ::5], spectra[2][:, ::5])
    columns = compared(spectra[1][:, ::10], spectra[3][:, ::10])
    return np.concatenate([compared(*strength), together, rows, columns], axis=1)


def told_apart(features: Features, two_photon: np.ndarray, fmost: np.ndarray) -> int:
    """Return in how many sessions left out a classifier prefers crops of one session.

    It is shown crops of both sides of one session, and of two sessions, and fits logistic
    regression's linear stand-in, a ridge regression of the class, on all sessions but a
    fifth; of each session left out it says which crop goes with that of the other side.
    """
    others = np.roll(fmost, 1, axis=0)
    same, different = (
        features(flat(two_photon), flat(side)).reshape(SESSIONS, CELLS, -1)
        for side in (fmost, others)
    )
    rows = np.concatenate([same, different], axis=1)
    rows = (rows - rows.mean(axis=(0, 1))) / (rows.std(axis=(0, 1)) + 1e-6)
    wanted = np.tile(np.repeat([0.5, -0.5], CELLS), (SESSIONS, 1))
    hits = 0
    for fold in range(5):
        left_out = np.arange(SESSIONS) % 5 == fold
        # A session's crops are also the strangers of the next one's.
        trained = ~(left_out | np.roll(left_out, 1) | np.roll(left_out, -1))
        inputs = rows[trained].reshape(-1, rows.shape[-1])
        gram = inputs @ inputs.T
        gram += 0.3 * np.trace(gram) / len(gram) * np.eye(len(gram))
        weights = inputs.T @ np.linalg.solve(gram, wanted[trained].ravel())
        score = (rows[left_out] @ weights).reshape(-1, 2, CELLS).mean(axis=2)
        hits += int((score[:, 0] > score[:, 1]).sum())
    return hits


CHANCE = (9, 31)
"""Hits of 40 sessions that a coin exceeds on either side once in 4,000 times each."""


@pytest.mark.slow
@pytest.mark.parametrize("features", [pooled, padding, noise])
def test_equal_noise_borders_and_microscopes_do_not_tell_who_is_the_partner(sessions, features):
    """Other cells with the same keys for all but the tissue are told from others by chance."""
    hits = told_apart(features, sessions.two_photon_b, sessions.fmost)
    assert CHANCE[0] <= hits <= CHANCE[1]


@pytest.mark.slow
def test_the_classifier_would_find_a_leak(sessions):
    assert told_apart(padding, sessions.two_photon, sessions.leaking) > CHANCE[1] + 3


@pytest.mark.slow
def test_correlation_finds_partners_by_the_cell_and_by_nothing_else(sessions):
    def mean_rank(two_photon: np.ndarray, fmost: np.ndarray) -> float:
        similarity = standardised(two_photon[:, 0]) @ standardised(fmost[:, 0]).T
        return float((similarity > similarity.diagonal()[:, None]).sum(axis=1).mean())

    expected, error = (SESSIONS - 1) / 2, SESSIONS / np.sqrt(12 * SESSIONS)
    assert mean_rank(sessions.two_photon, sessions.fmost) < expected - 6 * error
    assert abs(mean_rank(sessions.two_photon_b, sessions.fmost) - expected) < 4 * error
    shuffled = np.roll(sessions.fmost, 7, axis=0)
    assert abs(mean_rank(sessions.two_photon, shuffled) - expected) < 4 * error


@pytest.mark.slow
def test_bordered_crops_are_padded_on_their_own(sessions):
    faces = []
    for side in (sessions.two_photon, sessions.fmost):
        dark = flat(side) < 1e-6
        faces.append(
            [dark[:, :5].mean((1, 2)), dark[:, -5:].mean((1, 2)), dark[:, :, :5].mean((1, 2))]
        )
    padded = np.array(faces) > 0.95
    assert 0.1 < padded.mean() < 0.5
    both = (padded[0] & padded[1]).mean()
    alone = padded[0].mean() * padded[1].mean()
    assert abs(both - alone) < 4 * np.sqrt(alone / padded[0].size)


def test_the_keys_of_a_block_are_all_different():
    words = [
        key.word
        for block in range(3)
        for keys in [BlockKeys.of(0, block)]
        for key in (keys.tissue, keys.misfit, keys.in_vivo, keys.ex_vivo)
    ]
    assert len(set(words)) == len(words) == 12
    assert BlockKeys.of(0, 1) == BlockKeys.of(0, 1) != BlockKeys.of(1, 0)


def test_a_side_is_a_function_of_the_tissue_and_its_own_key():
    keys = BlockKeys.of(1, 1)
    usual = simulate_block(NUISANCE, 1, keys, torch.device("cpu"))
    other = simulate_block(
        NUISANCE,
        1,
        BlockKeys(keys.tissue, Key.of(77), keys.in_vivo, Key.of(78)),
        torch.device("cpu"),
    )
    assert np.array_equal(usual[0], other[0])
    assert not np.array_equal(usual[1], other[1])


@pytest.mark.parametrize("regime", ["sparse-sparse", "dense-sparse", "dense-dense"])
def test_every_label_regime_has_pairs(regime):
    paper = Difficulty().with_labels(regime)
    assert len(simulate_pairs(2, seed=0, level=paper, cells_per_scene=2)) == 2


def test_bad_requests_are_refused():
    with pytest.raises(InputError, match="no simulation level"):
        simulate_pairs(1, seed=0, level="nightmare")
    for numbers in ({"n": 0}, {"n": -3}, {"n": 1, "cells_per_scene": 0}):
        with pytest.raises(InputError, match="at least 1"):
            simulate_pairs(seed=0, **numbers)


@pytest.mark.parametrize(
    "unseen",
    [
        {"fmost_label": {"labelled_fraction": 0.0}},
        {"two_photon_label": {"visible_fraction": 0.0}},
    ],
)
def test_cells_that_only_one_side_shows_make_no_pair(unseen):
    with pytest.raises(InputError, match="visible on both sides"):
        simulate_pairs(1, seed=0, level=level("easy").changed(**unseen), cells_per_scene=1)


def test_more_cells_than_fit_are_refused():
    crowded = level("easy").changed(tissue={"density_per_mm3": 400_000.0, "min_distance_um": 15.0})
    with pytest.raises(InputError, match="400000 somata per mm³"):
        simulate_pairs(1, seed=0, level=crowded, cells_per_scene=1)


def test_cancelling_stops_between_scenes():
    asked = []

    def report(done: int, total: int, message: str) -> None:
        asked.append((done, total))
        if done:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        simulate_pairs(3, seed=0, level="easy", cells_per_scene=1, report=report)
    assert asked[0] == (0, 3)
    assert asked[-1] == (1, 3)
    assert {done for done, _ in asked[:-1]} == {0}
