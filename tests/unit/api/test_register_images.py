"""Images registered from a script: `nb.register_images`."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

import napari_neurobridge as nb
from beacons import BeaconMatcher, plane_of, scattered
from napari_neurobridge.errors import InputError
from napari_neurobridge.workflows import register_images as workflow


def test_it_returns_what_the_command_writes(tmp_path, monkeypatch) -> None:
    matcher = BeaconMatcher()
    monkeypatch.setattr(workflow, "default_matcher", lambda: matcher)
    places = scattered(40, 200)
    for name, shift in (("a", 0.0), ("b", 7.0)):
        tifffile.imwrite(tmp_path / f"{name}.tif", plane_of(places + shift, (200, 200)).values)
    sizes = {"source_pixel_um": 1.0, "target_pixel_um": 1.0}
    found = nb.register_images(
        tmp_path / "a.tif", str(tmp_path / "b.tif"), **sizes, angle_deg=0.0, out=tmp_path / "out"
    )
    assert found.found.decision.accepted
    moved = found.found.transform.map_points([[0, 50, 60]])
    np.testing.assert_allclose(moved, [[0, 57, 67]], atol=0.2)
    assert (tmp_path / "out" / "quality.html").is_file()
    assert len(matcher.calls) == 4
    with pytest.raises(InputError, match="given in degrees"):
        nb.register_images(
            tmp_path / "a.tif", tmp_path / "b.tif", **sizes, angle_deg=0.0, within_deg=200.0
        )


@pytest.mark.parametrize(
    ("shape", "given", "words"),
    [
        ((3, 64, 64), {"angle_deg": 10.0}, "target that is a plane"),
        ((3, 64, 64), {"matcher": "semantic"}, "target that is a plane"),
        ((64, 64), {"orientation": "+z+y+x"}, "target that is a volume"),
        ((64, 64), {"target_voxel_um": (2.0, 1.0, 1.0)}, "target that is a volume"),
    ],
)
def test_what_belongs_to_another_kind_of_target_is_refused(tmp_path, shape, given, words) -> None:
    rng = np.random.default_rng(0)
    for name, size in (("a", (64, 64)), ("b", shape)):
        axes = {"axes": "ZYX"[-len(size) :]}
        values = rng.random(size).astype(np.float32)
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", values, ome=True, metadata=axes)
    images = tmp_path / "a.ome.tif", tmp_path / "b.ome.tif"
    with pytest.raises(InputError, match=words):
        nb.register_images(*images, source_pixel_um=1.0, **given)
