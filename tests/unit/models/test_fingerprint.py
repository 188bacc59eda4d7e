"""What a model folder says of its training data, and that nothing more is needed."""

from pathlib import Path

import numpy as np
import pytest

from fixtures.models import MakeModel
from napari_neurobridge.errors import InputError
from napari_neurobridge.models.fingerprint import (
    fingerprint_arrays,
    median_distance,
    read_fingerprint,
    unit_rows,
)
from napari_neurobridge.models.model_folder import ModelFolder

BUNDLED = Path(__file__).parents[3] / "models" / "compact"


def features(count: int = 30, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1.0, 1.0, (count, 5)).astype(np.float32)


@pytest.fixture
def folder(make_model: MakeModel, tmp_path: Path) -> ModelFolder:
    return ModelFolder.open(make_model(tmp_path / "a"))


def test_what_is_written_is_read_and_the_kernel_fits_the_rows(folder: ModelFolder) -> None:
    sides = {"two_photon": features(), "fmost": features(40, 1)}
    folder = folder.write_fingerprint(fingerprint_arrays(sides))
    found = read_fingerprint(folder)
    assert set(found) == set(sides)
    for name, rows in sides.items():
        sample = found[name]
        lengths = [float(np.sqrt((row**2).sum())) for row in rows]
        expected = rows / np.array(lengths)[:, None]
        np.testing.assert_allclose(sample.features, expected, atol=1e-3)  # half precision
        pairs = [
            np.linalg.norm(expected[i] - expected[j]) for i in range(len(rows)) for j in range(i)
        ]
        assert sample.bandwidth == pytest.approx(np.median(pairs), rel=1e-2)
    arrays = folder.fingerprint()
    np.testing.assert_allclose(arrays["fmost_mean"], sides["fmost"].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(arrays["fmost_cov"], np.cov(sides["fmost"].T), rtol=1e-4)


def test_an_older_fingerprint_has_the_bandwidth_that_follows_from_it(folder: ModelFolder) -> None:
    arrays = fingerprint_arrays({"fmost": features()})
    whole = read_fingerprint(folder.write_fingerprint(arrays))
    del arrays["fmost_bandwidth"]
    older = read_fingerprint(folder.write_fingerprint(arrays))
    assert older["fmost"].bandwidth == pytest.approx(whole["fmost"].bandwidth)


def test_a_folder_without_one_is_no_error(folder: ModelFolder) -> None:
    assert read_fingerprint(folder) == {}


@pytest.mark.parametrize(
    "harm",
    [
        {"fmost": np.zeros((1, 5), np.float16)},
        {"fmost": np.zeros(5, np.float16)},
        {"fmost": np.zeros((5, 5), np.int64)},
        {"fmost": np.full((5, 5), np.nan, np.float16)},
        {"fmost_bandwidth": np.array(np.nan)},
        {"fmost_bandwidth": np.array(-1.0)},
        {"fmost_bandwidth": np.array([])},
        {"fmost_bandwidth": np.array("wide")},
    ],
)
def test_a_damaged_one_is_one_sentence(folder: ModelFolder, harm: dict[str, np.ndarray]) -> None:
    arrays = fingerprint_arrays({"fmost": features()}) | harm
    with pytest.raises(InputError, match=r"The fingerprint of the model .* is damaged\."):
        read_fingerprint(folder.write_fingerprint(arrays))


@pytest.mark.skipif(not BUNDLED.exists(), reason="no bundled model in this tree")
def test_the_bundled_one_carries_its_bandwidth() -> None:
    folder = ModelFolder.open(BUNDLED)
    for side, sample in read_fingerprint(folder).items():
        stored = float(folder.fingerprint()[f"{side}_bandwidth"])
        assert sample.bandwidth == stored == pytest.approx(median_distance(sample.features))


def test_the_bandwidth_is_the_median_distance_of_all_rows() -> None:
    rows = np.array([[0.0], [1.0], [3.0], [7.0]])
    assert median_distance(rows[:2], rows[2:]) == pytest.approx(np.median([1, 3, 7, 2, 6, 4]))
    # Of large sets only some rows are compared.
    many = np.random.default_rng(0).normal(size=(6000, 4))
    assert median_distance(many) == pytest.approx(median_distance(many[:900]), rel=0.05)


def test_rows_without_anything_stay_so() -> None:
    assert unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[0.6, 0.8], [0.0, 0.0]]
