import numpy as np
import pytest

from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.point_fields import PointFieldParams, draw_point_field

PARAMS = PointFieldParams(unrelated=0.0)


def affine_of(field) -> tuple[np.ndarray, float]:
    rows = field.partner >= 0
    design = np.c_[field.queries_um[rows], np.ones(rows.sum())]
    target = field.gallery_um[field.partner[rows]]
    solution = np.linalg.lstsq(design, target, rcond=None)[0]
    return solution[:3].T, float(np.sqrt(((design @ solution - target) ** 2).mean()))


def test_the_same_key_gives_the_same_field():
    first, same, other = (draw_point_field(60, 80, PARAMS, Key.of(number)) for number in (1, 1, 2))
    np.testing.assert_array_equal(first.queries_um, same.queries_um)
    np.testing.assert_array_equal(first.gallery_um, same.gallery_um)
    np.testing.assert_array_equal(first.partner, same.partner)
    assert not np.allclose(first.queries_um, other.queries_um)


def test_numbers_are_exact_and_partners_one_to_one():
    for number in range(8):
        field = draw_point_field(70, 90, PARAMS, Key.of(3, number))
        assert field.queries_um.shape == (70, 3)
        assert field.gallery_um.shape == (90, 3)
        found = field.partner[field.partner >= 0]
        assert len(np.unique(found)) == len(found) > 10


def test_partners_lie_where_the_stated_map_puts_them():
    params = PARAMS.model_copy(update={"nonrigid_um": (0.0, 0.0), "noise_um": (2.0, 2.0)})
    for number in range(5):
        field = draw_point_field(120, 150, params, Key.of(4, number))
        linear, rms = affine_of(field)
        assert np.abs(linear - field.linear).max() < 0.08
        assert rms == pytest.approx(2.0, rel=0.2)


def test_misfit_stays_within_what_was_asked_for():
    for number in range(10):
        field = draw_point_field(30, 40, PARAMS, Key.of(5, number))
        sizes = np.linalg.svd(field.linear, compute_uv=False)
        assert sizes[2] >= 0.7
        assert sizes[0] <= 1.3
        assert np.linalg.det(field.linear) > 0


def test_easy_fields_are_nearly_whole_and_unturned():
    easy = draw_point_field(100, 130, PARAMS.eased(0.0), Key.of(6))
    assert (easy.partner >= 0).mean() > 0.9
    np.testing.assert_allclose(easy.linear, np.eye(3), atol=1e-9)
    hard = [draw_point_field(100, 130, PARAMS, Key.of(7, n)) for n in range(5)]
    assert np.mean([(field.partner >= 0).mean() for field in hard]) < 0.85


def test_unrelated_sides_share_nobody():
    params = PARAMS.model_copy(update={"unrelated": 1.0})
    assert (draw_point_field(40, 50, params, Key.of(8)).partner == -1).all()


def test_the_density_is_what_was_asked_for():
    dense, sparse = (
        draw_point_field(
            150, 150, PARAMS.model_copy(update={"density_per_mm3": (value, value)}), Key.of(9)
        )
        for value in (80_000.0, 10_000.0)
    )
    spread = [np.linalg.norm(f.queries_um.std(axis=0)) for f in (dense, sparse)]
    assert spread[1] / spread[0] == pytest.approx(2.0, rel=0.15)
