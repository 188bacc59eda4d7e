"""OME-NGFF maps: there and back, against the specification's own reader, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.transforms.common import GridSettings
from napari_neurobridge.io.transforms.ngff import write_ngff
from napari_neurobridge.io.transforms.ngff_reader import read_ngff
from napari_neurobridge.spaces import Affine
from napari_neurobridge.spaces.chain import Chain
from napari_neurobridge.spaces.displacement_grid import DisplacementGrid
from strategies import affines
from wavy_map import BOX_UM, WavyMap, inside

COARSE = GridSettings(step_um=40.0)
SCALED = Affine.from_linear(
    np.diag([0.8, 1.1, 0.9]), (10.0, -20.0, 30.0), source="two_photon", target="fmost"
)


def attributes(path):
    return json.loads((path / "zarr.json").read_text())["attributes"]


def rewrite(path, change):
    """Change the attributes of a group that was written."""
    group = zarr.open_group(path, mode="r+")
    found = dict(group.attrs)
    change(found["ome"])
    group.attrs.put(found)


@given(transform=affines(), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_affine_comes_back_from_06(tmp_path_factory, transform, seed):
    path = tmp_path_factory.mktemp("ngff") / "map.ome.zarr"
    scale = abs(np.linalg.det(transform.linear)) ** (1 / 3)
    if not 1 / 29 < scale < 29:
        transform = Affine.from_linear(
            transform.linear / scale, transform.translation, source="a", target="b"
        )
    written = write_ngff(transform, path, BOX_UM, version="0.6")
    found = read_ngff(path)
    assert (written.kind, written.version, written.error_um) == ("affine", "0.6", 0.0)
    assert (found.source, found.target) == ("a", "b")
    points = inside(seed)
    assert np.abs(found.map_points(points) - transform.map_points(points)).max() <= 1e-6


@given(seed=st.integers(0, 99), height_um=st.floats(0.5, 4))
@settings(max_examples=5, deadline=None)
def test_displacements_come_back_within_their_tolerance(tmp_path_factory, seed, height_um):
    path = tmp_path_factory.mktemp("ngff") / "map.ome.zarr"
    transform = WavyMap(height_um)
    written = write_ngff(transform, path, BOX_UM, version="0.6")
    found = read_ngff(path)
    assert isinstance(found, DisplacementGrid)
    assert (written.kind, written.error_um <= 0.01) == ("displacements", True)
    points = inside(seed)
    away = np.linalg.norm(found.map_points(points) - transform.map_points(points), axis=1)
    assert away.max() <= 0.01
    back = found.inverse().map_points(found.map_points(points))
    assert np.abs(back - points).max() < 1e-5


def test_scale_and_translation_come_back_from_05_and_place_its_image_in_the_target(tmp_path):
    path = tmp_path / "map.ome.zarr"
    assert write_ngff(SCALED, path, BOX_UM).version == "0.5"
    found = read_ngff(path)
    points = inside(3)
    assert np.abs(found.map_points(points) - SCALED.map_points(points)).max() <= 1e-6
    # Index 0 and 1 of the image are the corners of the box.
    multiscale = attributes(path)["ome"]["multiscales"][0]
    corners = np.array([[0.0] * 3, [1.0] * 3])
    for step in (
        multiscale["datasets"][0]["coordinateTransformations"]
        + multiscale["coordinateTransformations"]
    ):
        values = np.array(step[step["type"]])
        corners = corners * values if step["type"] == "scale" else corners + values
    assert np.allclose(corners, SCALED.map_points(BOX_UM))


def test_the_files_say_version_axes_unit_and_direction(tmp_path):
    turned = Affine.from_linear(
        [[0, 1, 0], [-1, 0, 0], [0, 0, 1]], (1, 2, 3), source="a", target="b"
    )
    write_ngff(turned, tmp_path / "6", BOX_UM, version="0.6")
    scene = attributes(tmp_path / "6")["ome"]["scene"]
    assert attributes(tmp_path / "6")["ome"]["version"] == "0.6"
    for system, name in zip(scene["coordinateSystems"], ("a", "b"), strict=True):
        assert system["name"] == name
        assert [(axis["name"], axis["unit"]) for axis in system["axes"]] == [
            (axis, "micrometer") for axis in "zyx"
        ]
    (step,) = scene["coordinateTransformations"]
    assert (step["input"], step["output"]) == ({"name": "a"}, {"name": "b"})
    # Row by row (z, y, x) of the output: (10, 0, 0) of a is (1, -8, 3) of b.
    assert np.allclose(np.array(step["affine"]) @ [10, 0, 0, 1], [1, -8, 3])


@pytest.mark.parametrize(
    ("transform", "what"),
    [
        (WavyMap(), "a displacement of each place"),
        (Affine.from_linear(np.eye(3)[[1, 0, 2]], (0, 0, 0), source="a", target="b"), "a turn"),
        (Affine.from_linear(np.diag([1, -1, 1]), (0, 0, 0), source="a", target="b"), "a flipped"),
    ],
)
def test_05_refuses_what_it_cannot_say_and_names_06(tmp_path, transform, what):
    with pytest.raises(InputError, match=f"{what}.*0.6 can say it"):
        write_ngff(transform, tmp_path / "map", BOX_UM)
    assert not (tmp_path / "map").exists()


def test_a_map_is_inverted_where_it_is_asked_for_the_other_way(tmp_path):
    write_ngff(SCALED, tmp_path / "map", BOX_UM, version="0.6")
    found = read_ngff(tmp_path / "map", source="fmost", target="two_photon")
    points = inside(1)
    assert np.allclose(found.map_points(SCALED.map_points(points)), points)


def test_other_axis_orders_and_units_are_understood(tmp_path):
    """An affine and displacements as another program may state them: (x, y, z) in mm to nm."""
    transform = WavyMap(3.0)
    write_ngff(transform, tmp_path / "map", BOX_UM, version="0.6", settings=COARSE)
    expected = read_ngff(tmp_path / "map").map_points(inside(5))

    group = zarr.open_group(tmp_path / "map", mode="r+")
    field = group["coordinateTransformations/displacements"]
    values = np.asarray(field["0"][:])
    ome = dict(field.attrs)["ome"]
    (multiscale,) = ome["multiscales"]
    axes = multiscale["coordinateSystems"][0]["axes"]
    multiscale["coordinateSystems"][0]["axes"] = [axes[0], *axes[:0:-1]]
    for step in multiscale["datasets"][0]["coordinateTransformations"][0]["transformations"]:
        numbers = step[step["type"]]
        step[step["type"]] = [numbers[0], *(v / 1000 for v in numbers[:0:-1])]
    del field["0"]
    field.create_array("0", data=values[::-1].transpose(0, 3, 2, 1) / 1000)
    field.attrs["ome"] = ome

    def restate(ome):
        scene = ome["scene"]
        for system, unit in zip(
            scene["coordinateSystems"], ("millimeter", "nanometer"), strict=True
        ):
            system["axes"] = [{"name": n, "type": "space", "unit": unit} for n in "xyz"]
        affine = scene["coordinateTransformations"][0]["transformations"][1]
        matrix = np.array(affine["affine"])
        affine["affine"] = np.hstack([matrix[::-1, 2::-1] * 1e6, matrix[::-1, 3:] * 1e3]).tolist()

    rewrite(tmp_path / "map", restate)
    found = read_ngff(tmp_path / "map")
    assert isinstance(found, Chain)
    assert np.abs(found.map_points(inside(5)) - expected).max() < 1e-3


def test_every_simple_type_of_06_is_understood(tmp_path):
    write_ngff(SCALED, tmp_path / "map", BOX_UM, version="0.6")

    def restate(ome):
        step = ome["scene"]["coordinateTransformations"][0]
        forward = {
            "type": "sequence",
            "transformations": [
                {"type": "identity"},
                {"type": "mapAxis", "mapAxis": [1, 2, 0]},
                {"type": "rotation", "rotation": [[0, -1, 0], [1, 0, 0], [0, 0, 1]]},
                {"type": "scale", "scale": [2, 3, 4]},
                {"type": "translation", "translation": [1, 1, 1]},
            ],
        }
        ends = {key: step[key] for key in ("input", "output")}
        ome["scene"]["coordinateTransformations"] = [
            {"type": "bijection", "forward": forward, "inverse": {"type": "identity"}, **ends}
        ]

    rewrite(tmp_path / "map", restate)
    # (z, y, x) = (1, 2, 3) -> (2, 3, 1) -> (-3, 2, 1) -> (-6, 6, 4) -> (-5, 7, 5)
    assert read_ngff(tmp_path / "map").map_points([[1, 2, 3]]).tolist() == [[-5, 7, 5]]


def in_two_dimensions(ome):
    for system in ome["scene"]["coordinateSystems"]:
        system["axes"] = system["axes"][1:]


def with_nan(ome):
    ome["scene"]["coordinateTransformations"][0]["transformations"][0]["scale"][0] = float("nan")


def in_mm(ome):
    ome["scene"]["coordinateTransformations"][0]["transformations"][0]["scale"] = [1e-3] * 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda ome: ome.update(version="0.4"), "is of OME-NGFF version 0.4"),
        (lambda ome: ome.pop("version"), "does not say a version"),
        (in_two_dimensions, "needs z, y and x"),
        (with_nan, "holds NaN"),
        (in_mm, "1000 times shorter.*come out as mm"),
        (lambda ome: ome["scene"]["coordinateSystems"].pop(), "does not describe .* 'fmost'"),
        (lambda ome: ome["scene"]["coordinateSystems"][0]["axes"][0].pop("unit"), "the unit of"),
        (lambda ome: ome["scene"].pop("coordinateTransformations"), "its maps: none"),
        (
            lambda ome: ome["scene"]["coordinateTransformations"][0].update(type="byDimension"),
            "type 'byDimension', which is not read",
        ),
        (
            lambda ome: ome["scene"]["coordinateTransformations"][0].pop("transformations"),
            "is no readable OME-NGFF map",
        ),
    ],
)
def test_bad_files_are_told_in_one_sentence(tmp_path, change, sentence):
    write_ngff(SCALED, tmp_path / "map", BOX_UM, version="0.6")
    rewrite(tmp_path / "map", change)
    with pytest.raises(InputError, match=sentence) as error:
        read_ngff(tmp_path / "map")
    assert "\n" not in str(error.value)


def test_lost_and_cut_chunks_of_displacements_are_noticed(tmp_path):
    write_ngff(WavyMap(), tmp_path / "map", BOX_UM, version="0.6", settings=COARSE)
    chunks = tmp_path / "map" / "coordinateTransformations" / "displacements" / "0" / "c"
    chunk = next(path for path in sorted(chunks.rglob("*")) if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(InputError, match="is no readable OME-NGFF map"):
        read_ngff(tmp_path / "map")
    chunk.unlink()
    with pytest.raises(InputError, match="holds NaN"):
        read_ngff(tmp_path / "map")


def test_wrong_requests_are_told_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"0\.5 or 0\.6, not '0\.4'"):
        write_ngff(SCALED, tmp_path / "map", BOX_UM, version="0.4")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        write_ngff(SCALED, tmp_path / "file", BOX_UM)
    with pytest.raises(InputError, match="There is no folder"):
        read_ngff(tmp_path / "nothing")
    with pytest.raises(InputError, match="is no readable OME-NGFF map"):
        read_ngff(tmp_path / "file")
    write_ngff(SCALED, tmp_path / "map", BOX_UM)
    with pytest.raises(InputError, match="maps 'two_photon' to 'fmost', not"):
        read_ngff(tmp_path / "map", source="fmost", target="two_photon")


def as_itk(step, fields, sitk):
    """Return ngff-zarr's ITK transform of one step as a SimpleITK one."""
    from ngff_zarr import ngff_transform_to_itk_transform

    (found,) = ngff_transform_to_itk_transform(step, "zyx", fields=fields)
    known = {"Affine": sitk.AffineTransform(3), "DisplacementField": None}
    made = known[str(found.transformType.transformParameterization.value)]
    if made is None:
        made = sitk.DisplacementFieldTransform(3)
    made.SetFixedParameters([float(v) for v in found.fixedParameters])
    made.SetParameters([float(v) for v in found.parameters])
    return made


@pytest.mark.parametrize(
    "transform",
    [
        SCALED,
        Affine.from_linear([[0, 2, 0], [-1, 0, 0.2], [0, 0, 1]], (1, 2, 3), source="a", target="b"),
        WavyMap(),
    ],
)
def test_ngff_zarr_reads_the_same_map(tmp_path, transform):
    """It checks the file against the published schemas, and makes ITK's transforms of it."""
    ngff_zarr = pytest.importorskip("ngff_zarr")
    sitk = pytest.importorskip("SimpleITK")
    path = tmp_path / "map.ome.zarr"
    write_ngff(transform, path, BOX_UM, version="0.6", settings=COARSE)
    scene = ngff_zarr.from_ome_zarr(str(path), validate=True, kind="scene")
    (step,) = scene.coordinateTransformations
    steps = getattr(step, "transformations", None) or [step]
    places = [[float(v) for v in point[::-1]] for point in inside(8)]
    for one in steps:
        name = getattr(one, "path", None)
        fields = {name: ngff_zarr.from_ome_zarr(f"{path}/{name}")} if name else None
        itk = as_itk(one, fields, sitk)
        places = [itk.TransformPoint(point) for point in places]
    expected = read_ngff(path).map_points(inside(8))
    assert np.abs(np.array(places)[:, ::-1] - expected).max() < 1e-4


def test_the_image_of_05_fits_its_schema(tmp_path):
    pytest.importorskip("ngff_zarr")
    from ngff_zarr.validate import validate

    write_ngff(SCALED, tmp_path / "map", BOX_UM)
    validate(attributes(tmp_path / "map"), version="0.5", model="image")
