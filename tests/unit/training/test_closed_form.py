"""Whitening and ridge maps against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.training.closed_form import best_ridge_map, ridge_map, whitening


def test_whitening_removes_mean_and_correlation():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5000, 4)) @ rng.normal(size=(4, 4)) + 3
    fitted = whitening(vectors)
    plain = (vectors - fitted.mean) @ fitted.matrix
    np.testing.assert_allclose(np.cov(plain, rowvar=False), np.eye(4), atol=0.02)
    np.testing.assert_allclose(np.linalg.norm(fitted(vectors), axis=1), 1)


def test_a_ridge_map_has_no_slope_left():
    rng = np.random.default_rng(1)
    own, other = rng.normal(size=(2, 30, 5))
    found = ridge_map(own, other, 2.0)
    slope = own.T @ (own @ found - other) + 2.0 * (found - np.eye(5))
    np.testing.assert_allclose(slope, 0, atol=1e-10)
    np.testing.assert_allclose(ridge_map(own, other, 1e9), np.eye(5), atol=1e-6)


def test_the_ridge_map_that_validates_best_undoes_a_rotation():
    rng = np.random.default_rng(2)
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    own, held = (rng.normal(size=(n, 6)) for n in (200, 20))
    own, held = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (own, held))
    found = best_ridge_map((own, own @ turn), (held, held @ turn), np.zeros(20, dtype=int))
    similarity = held @ found @ (held @ turn).T
    assert (similarity.argmax(axis=1) == np.arange(20)).all()


def test_one_vector_is_not_whitened():
    with pytest.raises(InputError, match="at least two vectors"):
        whitening(np.ones((1, 3)))
