from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.matching.constellation.matcher import (
    ConstellationParams,
    match_constellation,
)
from napari_neurobridge.matching.constellation.window_search import SearchParams
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.point_fields import (
    PointField,
    PointFieldParams,
    draw_point_field,
)

FIELD = PointFieldParams(
    density_per_mm3=(35_000.0, 35_000.0),
    missing=(0.2, 0.2),
    noise_um=(1.5, 1.5),
    nonrigid_um=(3.0, 3.0),
    scale=(0.85, 1.15),
    angle_deg=20.0,
    shift=0.2,
    unrelated=0.0,
)
QUICK = ConstellationParams(search=SearchParams(query_windows=1, rotations=7, best_matches=4))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def draw(seed: int, n_queries: int = 120, n_gallery: int = 180) -> PointField:
    return draw_point_field(n_queries, n_gallery, FIELD, Key.of(77, seed))


def start(field: PointField, **options):
    options = {"orientation": np.eye(3), "params": QUICK} | options
    return match_constellation(field.queries_um, field.gallery_um, **options)


@pytest.fixture(scope="module")
def field() -> PointField:
    return draw(1)


@pytest.fixture(scope="module")
def found(field: PointField):
    return start(field)


def share_right(found, field: PointField) -> float:
    right = field.partner[found.pairs[:, 0]] == found.pairs[:, 1]
    return right.sum() / (field.partner >= 0).sum()


def test_a_simple_field_starts_right(found, field: PointField):
    assert found.known
    assert share_right(found, field) > 0.8
    right = field.partner[found.pairs[:, 0]] == found.pairs[:, 1]
    assert right.mean() > 0.9
    assert str(len(found.pairs)) in found.reason


def test_pairs_are_one_to_one_and_the_surest_first(found):
    for pairs in (found.pairs, found.network_pairs):
        assert len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1])) == len(pairs) > 0
    assert (np.diff(found.confidence) <= 0).all()
    assert (found.confidence >= QUICK.min_confidence).all()
    assert found.confidence.max() <= 1
    assert np.isin(found.network_pairs[:, 0], found.network_rows).all()


def test_the_same_field_gives_the_same_answer(found, field: PointField):
    again = start(field)
    np.testing.assert_array_equal(again.pairs, found.pairs)
    np.testing.assert_allclose(again.confidence, found.confidence, rtol=1e-6)
    assert again.evidence == pytest.approx(found.evidence)


def test_other_tissue_is_not_known(field: PointField):
    other = replace(field, gallery_um=draw(2).gallery_um)
    found = start(other)
    assert not found.known
    assert len(found.pairs) == len(found.confidence) == 0
    assert "do not say" in found.reason


def test_a_thin_gallery_of_other_tissue_is_not_known():
    queries, gallery = draw(3, 180, 180).queries_um, draw(4, 120, 120).gallery_um
    thin = np.random.default_rng(0).permutation(gallery)[:40]
    found = match_constellation(queries, thin, orientation=np.eye(3), params=QUICK)
    assert not found.known


def test_a_mirrored_gallery_is_not_known_until_the_orientation_says_so(field: PointField):
    mirror = np.diag([-1.0, 1.0, 1.0])
    mirrored = replace(field, gallery_um=field.gallery_um @ mirror)
    assert not start(mirrored).known
    told = start(mirrored, orientation=mirror)
    assert told.known
    assert share_right(told, field) > 0.8


def test_the_orientation_may_be_any_linear_map(field: PointField):
    turn = 2.0 * Rotation.from_rotvec([1.0, 2.0, 0.5]).as_matrix()
    moved = replace(field, gallery_um=field.gallery_um @ turn.T + [900.0, -50.0, 30.0])
    found = start(moved, orientation=turn)
    assert found.known
    assert share_right(found, field) > 0.8


def test_embeddings_are_of_use_to_the_network(field: PointField):
    rng = np.random.default_rng(0)
    sides = [rng.standard_normal((len(p), 16)) for p in (field.queries_um, field.gallery_um)]
    rows = np.flatnonzero(field.partner >= 0)
    sides[1][field.partner[rows]] = sides[0][rows] + 0.5 * rng.standard_normal((len(rows), 16))
    told = start(field, query_embeddings=sides[0], gallery_embeddings=sides[1])
    right = field.partner[told.network_pairs[:, 0]] == told.network_pairs[:, 1]
    assert right.mean() > 0.8
    assert told.known


def test_progress_is_told_and_can_be_stopped(field: PointField):
    told = []
    start(field, report=lambda *values: told.append(values))
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert all(done <= total for done, total, _ in told)
    assert {message.rsplit(" ", 1)[-1] for *_, message in told} == {"gallery", "image"}

    def stop(*_: object) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        start(field, report=stop)


def test_too_few_somata_are_not_known():
    points = np.random.default_rng(0).uniform(0, 100, (7, 3))
    found = match_constellation(points, np.vstack([points, points + 9]), orientation=np.eye(3))
    assert not found.known
    assert "at least 8" in found.reason


def test_few_somata_do_not_break_it():
    rng = np.random.default_rng(0)
    found = match_constellation(
        rng.uniform(0, 100, (8, 3)), rng.uniform(0, 100, (9, 3)), orientation=np.eye(3)
    )
    assert not found.known


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"orientation": np.eye(2)}, r"\(3, 3\)"),
        ({"orientation": np.full((3, 3), np.nan)}, "finite"),
        ({"orientation": np.zeros((3, 3))}, "invertible"),
        ({"query_embeddings": np.ones((120, 4))}, "both sides"),
        (
            {"query_embeddings": np.ones((5, 4)), "gallery_embeddings": np.ones((6, 4))},
            "each soma",
        ),
        ({"model": "no such matcher"}, "no model"),
    ],
)
def test_what_makes_no_sense_is_refused(field: PointField, changes: dict, message: str):
    with pytest.raises(InputError, match=message):
        start(field, **changes)


def test_what_is_no_number_is_refused(field: PointField):
    broken = field.queries_um.copy()
    broken[3, 1] = np.nan
    with pytest.raises(InputError, match="NaN"):
        start(replace(field, queries_um=broken))
    with pytest.raises(InputError, match="one place"):
        start(replace(field, queries_um=np.zeros_like(field.queries_um)))
