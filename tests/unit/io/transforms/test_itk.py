"""ITK transforms: SimpleITK maps the same points, files come back, and what is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.transforms.common import GridSettings
from napari_neurobridge.io.transforms.itk import read_itk, write_itk
from napari_neurobridge.spaces import Affine
from napari_neurobridge.spaces.chain import Chain
from napari_neurobridge.spaces.thin_plate import ThinPlate
from strategies import affines
from wavy_map import BOX_UM, WavyMap, inside

sitk = pytest.importorskip("SimpleITK")

COARSE = GridSettings(step_um=40.0)
TURNED = Affine.from_linear(
    [[0, 2, 0], [-1, 0, 0.2], [0, 0, 1]], (1, 2, 3), source="two_photon", target="fmost"
)


def by_itk(transform, points):
    """Map (z, y, x) by a SimpleITK transform, whose points are (x, y, z)."""
    return np.array([transform.TransformPoint(p[::-1].tolist())[::-1] for p in points])


@pytest.mark.parametrize("suffix", [".tfm", ".h5"])
@given(transform=affines(), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_simple_itk_and_our_reader_agree_on_an_affine(tmp_path_factory, suffix, transform, seed):
    scale = abs(np.linalg.det(transform.linear)) ** (1 / 3)
    transform = Affine.from_linear(
        transform.linear / scale, transform.translation, source="a", target="b"
    )
    path = tmp_path_factory.mktemp("itk") / f"map{suffix}"
    assert write_itk(transform, path, BOX_UM).kind == "affine"
    points = inside(seed)
    expected = transform.map_points(points)
    assert np.abs(by_itk(sitk.ReadTransform(str(path)), points) - expected).max() <= 1e-6
    found = read_itk(path, source="a", target="b")
    assert np.abs(found.map_points(points) - expected).max() <= 1e-6


@given(seed=st.integers(0, 99), height_um=st.floats(0.5, 4))
@settings(max_examples=5, deadline=None)
def test_simple_itk_and_our_reader_agree_on_displacements(tmp_path_factory, seed, height_um):
    transform = WavyMap(height_um)
    path = tmp_path_factory.mktemp("itk") / "map.h5"
    written = write_itk(transform, path, BOX_UM)
    assert written.kind == "displacements"
    assert written.error_um <= 0.01
    points = inside(seed)
    expected = transform.map_points(points)
    read = sitk.ReadTransform(str(path))
    for mapped in (by_itk(read, points), read_itk(path).map_points(points)):
        assert np.linalg.norm(mapped - expected, axis=1).max() <= 0.01


@pytest.mark.parametrize("backwards", [False, True])
def test_a_thin_plate_is_written_both_ways(tmp_path, backwards):
    draw = np.random.default_rng(0)
    base = Affine.from_linear(TURNED.linear, (1, 2, 3), source="a", target="b")
    transform = ThinPlate(
        base, inside(1, 12), draw.normal(0, 1.5, (12, 3)), np.zeros(12), np.eye(3) / 100
    )
    points = inside(4)
    if backwards:
        points, transform = transform.map_points(points), transform.inverse()
    corners = np.stack([points.min(axis=0), points.max(axis=0)])
    written = write_itk(transform, tmp_path / "map.h5", corners, settings=GridSettings(step_um=15))
    expected = transform.map_points(points)
    mapped = by_itk(sitk.ReadTransform(str(tmp_path / "map.h5")), points)
    away = np.linalg.norm(mapped - expected, axis=1).max()
    assert away <= 1.1 * written.error_um < 0.3
    assert np.abs(read_itk(tmp_path / "map.h5").map_points(points) - mapped).max() < 1e-9


def test_outside_the_grid_both_agree_too(tmp_path):
    write_itk(WavyMap(), tmp_path / "map.h5", BOX_UM, settings=COARSE)
    points = np.random.default_rng(0).uniform(BOX_UM[0] - 60, BOX_UM[1] + 60, size=(400, 3))
    mapped = by_itk(sitk.ReadTransform(str(tmp_path / "map.h5")), points)
    assert np.abs(mapped - read_itk(tmp_path / "map.h5").map_points(points)).max() < 1e-9


def test_resampling_draws_the_target_on_the_sources_grid(tmp_path):
    """The direction that ITK means: fixed to moving."""
    write_itk(TURNED, tmp_path / "map.tfm", BOX_UM)
    moving = np.zeros((40, 50, 60), np.float32)
    spot = (6.0, 5.0, 4.0)
    place = np.round(TURNED.map_points([spot])[0] + (0, 20, 10)).astype(int)
    moving[tuple(place)] = 1
    image = sitk.GetImageFromArray(moving)
    image.SetOrigin((-10.0, -20.0, 0.0))
    fixed = sitk.Image(20, 20, 20, sitk.sitkFloat32)
    drawn = sitk.GetArrayFromImage(
        sitk.Resample(image, fixed, sitk.ReadTransform(str(tmp_path / "map.tfm")))
    )
    assert np.unravel_index(drawn.argmax(), drawn.shape) == spot


def test_rotations_and_composites_of_other_programs_are_read(tmp_path):
    turn = sitk.Euler3DTransform((5.0, 6.0, 7.0), 0.1, -0.2, 0.3, (1.0, 2.0, 3.0))
    size = sitk.Similarity3DTransform()
    size.SetScale(1.5)
    write_itk(WavyMap(), tmp_path / "map.h5", BOX_UM, settings=COARSE)
    field = sitk.CompositeTransform(sitk.ReadTransform(str(tmp_path / "map.h5"))).GetNthTransform(1)
    whole = sitk.CompositeTransform([turn, field, size])
    sitk.WriteTransform(whole, str(tmp_path / "other.h5"))
    found = read_itk(tmp_path / "other.h5", source="tp", target="fm")
    assert isinstance(found, Chain)
    assert (found.source, found.target) == ("tp", "fm")
    assert np.allclose(found.map_points(inside(2)), by_itk(whole, inside(2)), atol=1e-9)


def test_a_file_in_mm_is_read_when_it_is_said_to_be(tmp_path):
    moved = sitk.TranslationTransform(3, (0.1, 0.2, 0.3))
    sitk.WriteTransform(moved, str(tmp_path / "mm.tfm"))
    found = read_itk(tmp_path / "mm.tfm", unit="mm")
    assert np.allclose(found.map_points([[1, 2, 3]]), [[301, 202, 103]])


def test_maps_in_mm_are_pointed_out(tmp_path):
    to_mm = sitk.ScaleTransform(3, (0.001, 0.001, 0.001))
    sitk.WriteTransform(to_mm, str(tmp_path / "scale.tfm"))
    with pytest.raises(
        InputError, match=r"1000 times shorter: points .* in as µm and come out as mm"
    ):
        read_itk(tmp_path / "scale.tfm")
    image = sitk.GetImageFromArray(np.zeros((5, 6, 7, 3)), isVector=True)
    image.SetSpacing((0.1, 0.1, 0.1))
    sitk.WriteTransform(sitk.DisplacementFieldTransform(image), str(tmp_path / "field.h5"))
    with pytest.raises(InputError, match=r"a grid of 0.4 x 0.5 x 0.6 µm, .* probably in mm"):
        read_itk(tmp_path / "field.h5")


def plane(path):
    sitk.WriteTransform(sitk.AffineTransform(2), str(path))


def spline(path):
    sitk.WriteTransform(sitk.BSplineTransform(3, 3), str(path))


def with_nan(path):
    sitk.WriteTransform(sitk.TranslationTransform(3, (1.0, float("nan"), 1.0)), str(path))


def cut(path):
    write_itk(WavyMap(), path, BOX_UM, settings=COARSE)
    path.write_bytes(path.read_bytes()[:1500])


def text(path):
    path.write_text("no transform")


def turned_grid(path):
    image = sitk.GetImageFromArray(np.zeros((5, 6, 7, 3)), isVector=True)
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    sitk.WriteTransform(sitk.DisplacementFieldTransform(image), str(path))


@pytest.mark.parametrize(
    ("make", "name", "sentence"),
    [
        (plane, "a.tfm", "of 2 dimensions; .* needs 3"),
        (spline, "a.tfm", "holds a BSplineTransform"),
        (with_nan, "a.tfm", "holds NaN|is no readable"),
        (cut, "a.h5", "is no readable ITK transform"),
        (text, "a.tfm", "is no readable ITK transform"),
        (text, "a.h5", "is no readable ITK transform"),
        (turned_grid, "a.h5", "on a turned grid"),
    ],
)
def test_bad_files_are_told_in_one_sentence(tmp_path, make, name, sentence):
    make(tmp_path / name)
    with pytest.raises(InputError, match=sentence) as error:
        read_itk(tmp_path / name)
    assert "\n" not in str(error.value)


def test_wrong_requests_are_told_in_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"as \.tfm or \.h5, not"):
        write_itk(TURNED, tmp_path / "map.mat", BOX_UM)
    with pytest.raises(InputError, match=r"is no affine, .*map\.h5"):
        write_itk(WavyMap(), tmp_path / "map.tfm", BOX_UM, settings=COARSE)
    with pytest.raises(InputError, match="There is no file"):
        read_itk(tmp_path / "nothing.tfm")
    with pytest.raises(InputError, match="not 'inch'"):
        read_itk(tmp_path / "nothing.tfm", unit="inch")
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(InputError, match=r"need SimpleITK; install it with"):
        read_itk(tmp_path / "nothing.tfm")
