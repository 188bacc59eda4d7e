"""Maps as plain numbers: a round trip through JSON, and what is no map."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from tests.strategies import affines

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.correspondences import Correspondences
from napari_neurobridge.spaces.thin_plate import weighted_thin_plate
from napari_neurobridge.spaces.transform_numbers import from_json, to_numbers


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@given(affines())
def test_an_affine_map_comes_back_as_it_was(affine):
    found = from_json(to_numbers(affine).model_dump_json())
    assert (found.source, found.target) == (affine.source, affine.target)
    assert np.array_equal(found.matrix, affine.matrix)


@pytest.mark.parametrize("flat", [False, True])
def test_a_thin_plate_comes_back_and_maps_alike(rng, flat):
    source = rng.uniform(0, 500, (30, 3)) * ([0, 1, 1] if flat else [1, 1, 1])
    target = source + rng.normal(0, 5, source.shape)
    plate = weighted_thin_plate(
        Correspondences(source, target, rng.uniform(0.1, 1, 30), source="a", target="b")
    )
    text = to_numbers(plate).model_dump_json()
    assert json.loads(text)["kind"] == "thin_plate"
    found = from_json(text)
    assert (found.source, found.target) == ("a", "b")
    there = rng.uniform(-100, 600, (50, 3))
    assert np.array_equal(found.map_points(there), plate.map_points(there))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no json", "This is no stored transform"),
        ("{}", "kind"),
        ('{"kind": "spline"}', "spline"),
        ('{"kind": "affine", "source": "a", "target": "b", "matrix": [[1, 0], [0, 1]]}', "matrix"),
        (
            '{"kind": "affine", "source": "a", "target": "b", '
            '"matrix": [[1,0,0,0],[0,1,0,0],[0,0,0,0],[0,0,0,1]]}',
            "flattens space",
        ),
    ],
)
def test_what_is_no_map_is_refused_in_one_sentence(text, says):
    with pytest.raises(InputError, match=says) as caught:
        from_json(text)
    assert "\n" not in str(caught.value)
