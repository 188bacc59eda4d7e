"""``register-images``."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from beacons import BeaconMatcher, plane_of, scattered
from napari_neurobridge.cli import main
from napari_neurobridge.registration.quality import Evidence, RegistrationDecision
from napari_neurobridge.types import Projection
from napari_neurobridge.workflows import register_images as workflow
from napari_neurobridge.workflows import register_volume, volume_registration_files

SIZE = 200
PLACES = scattered(45, SIZE)


def call(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def matcher(monkeypatch: pytest.MonkeyPatch) -> BeaconMatcher:
    made = BeaconMatcher()
    monkeypatch.setattr(workflow, "default_matcher", lambda: made)
    return made


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "site3.tif", tmp_path / "fmost.tif"
    for path, places in zip(paths, (PLACES, PLACES + 9.0), strict=True):
        tifffile.imwrite(path, plane_of(places, (SIZE, SIZE)).values)
    return paths


PIXELS = ("--source-pixel", 1, "--target-pixel", 1)


def test_two_images_are_registered(matcher, images, tmp_path) -> None:
    out = tmp_path / "out"
    code, text, err = call(
        "register-images", *images, *PIXELS, "--angle", 0, "--out", out, "--format", "itk", "--json"
    )
    assert code == 0, err
    found = json.loads(text)
    assert found["accepted"] is True
    assert found["failed"] == []
    assert Evidence.model_validate(found["evidence"]).n_agreeing > 20
    assert (found["source"], found["target"]) == ("site3", "fmost")
    assert [Path(path).name for path in found["files"]] == [
        "registration.json", "matches.csv", "quality.html",
        "transform.tfm" if found["transform"]["kind"] == "affine" else "transform.h5",
    ]  # fmt: skip
    assert all(Path(path).is_file() for path in found["files"])
    # The angle, its mirror image, half a turn, and once more on the target.
    assert len(matcher.calls) == 4


def test_the_published_matcher_is_used_where_it_is_asked_for(
    matcher, images, tmp_path, monkeypatch
) -> None:
    published = BeaconMatcher()
    monkeypatch.setattr(workflow, "semantic_matcher", lambda: published)
    arguments = ("register-images", *images, *PIXELS, "--angle", 0, "--out", tmp_path / "out")
    code, _, err = call(*arguments, "--matcher", "semantic")
    assert code == 0, err
    assert (len(published.calls), len(matcher.calls)) == (4, 0)
    assert call(*arguments, "--matcher", "pattern")[0] == 0
    assert (len(published.calls), len(matcher.calls)) == (4, 4)


def test_a_refusal_exits_with_3_and_answers_all_the_same(matcher, images, tmp_path) -> None:
    matcher.wrong = 1.0
    arguments = ("register-images", *images, *PIXELS, "--angle", 0, "--out", tmp_path / "out")
    code, text, err = call(*arguments, "--json")
    assert code == 3
    assert json.loads(text)["accepted"] is False
    assert err == ""
    code, text, _ = call(*arguments)
    assert code == 3
    assert text.startswith("Refused. ")


def test_any_angle_is_tried_unless_one_is_stated(matcher, images, tmp_path) -> None:
    call("register-images", *images, *PIXELS, "--out", tmp_path / "out")
    assert len(matcher.calls) == 13
    matcher.calls.clear()
    call(
        "register-images", *images, *PIXELS, "--out", tmp_path / "out", "--angle", 10,
        "--within", 60,
    )  # fmt: skip
    assert len(matcher.calls) == 2 * 3 + 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give it in µm with --source-pixel or --target-pixel"),
        ((*PIXELS, "--within", 20), "--within says how far off --angle may be"),
        ((*PIXELS, "--angle", "nan"), "given in degrees"),
        ((*PIXELS, "--format", "nifti"), "there are ngff, itk, bigwarp"),
        ((*PIXELS, "--ngff-version", "0.6"), "belongs to --format ngff"),
        ((*PIXELS, "--matcher", "sift"), "there are pattern, semantic"),
        (("--source-pixel", 1, "--target-pixel", 100), "differ 100-fold"),
        (("--source-pixel", 0, "--target-pixel", 1), "must be positive"),
    ],
)
def test_wrong_use_ends_with_2_and_one_sentence(matcher, images, arguments, words) -> None:
    code, text, err = call("register-images", *images, *arguments)
    assert code == 2
    assert text == ""
    (line,) = err.splitlines()
    assert words in line
    assert matcher.calls == []


def test_a_stack_needs_a_projection(matcher, images, tmp_path) -> None:
    stack = np.stack([plane_of(PLACES, (SIZE, SIZE)).values] * 3)
    path = tmp_path / "stack.ome.tif"
    tifffile.imwrite(path, stack, ome=True, metadata={"axes": "ZYX"})
    arguments = ("register-images", path, images[1], *PIXELS, "--angle", 0)
    code, _, err = call(*arguments)
    assert code == 2
    assert "--project max or mean" in err
    code, _, err = call(*arguments, "--project", "max", "--out", tmp_path / "out")
    assert code == 0, err


def test_the_same_file_twice_is_refused(matcher, images) -> None:
    code, _, err = call("register-images", images[0], images[0], *PIXELS)
    assert code == 2
    assert "same image" in err


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    stack = np.stack([plane_of(PLACES, (SIZE, SIZE)).values] * 3)
    path = tmp_path / "brain.ome.tif"
    tifffile.imwrite(path, stack, ome=True, metadata={"axes": "ZYX"})
    return path


@pytest.mark.parametrize(
    ("options", "axes", "voxel", "projection"),
    [
        ((), None, None, None),
        (("--orientation", "+y+z-x", "--project", "max"), "+y+z-x", None, Projection.MAX),
        (("--target-voxel", 2, 1, 1), None, (2.0, 1.0, 1.0), None),
    ],
)
def test_a_source_is_looked_for_in_a_volume(
    monkeypatch, images, volume, tmp_path, options, axes, voxel, projection
) -> None:
    asked: dict[str, object] = {}
    evidence = Evidence(
        n_source=9, n_target=9, n_initial=0, n_verified=0, n_agreeing=0, inlier_ratio=0.0
    )
    decision = RegistrationDecision(accepted=False, reason="It is not there.", failed=("margin",))

    def register(source, target, *, orientation, report):
        asked.update(source=source, target=target, orientation=orientation)
        found = SimpleNamespace(decision=decision, evidence=evidence)
        return SimpleNamespace(found=found, names=("site3", "brain"))

    monkeypatch.setattr(register_volume, "register_volume", register)
    monkeypatch.setattr(
        volume_registration_files,
        "write_volume_registration",
        lambda found, out, output, report: ([out / "registration.json"], None),
    )
    out = tmp_path / "out"
    code, text, err = call(
        "register-images", images[0], volume, "--source-pixel", 1, *options, "--out", out, "--json"
    )
    assert code == 3, err
    said = json.loads(text)
    assert (said["accepted"], said["reason"], said["target"]) == (
        False, "It is not there.", "brain",
    )  # fmt: skip
    assert said["files"] == [str(out / "registration.json")]
    assert asked["source"].projection is projection
    assert asked["target"].voxel_um == voxel
    orientation = asked["orientation"]
    assert (orientation and orientation.axes) == axes


def test_options_of_planes_and_of_volumes_are_told_apart(matcher, images, volume) -> None:
    for arguments, words in (
        ((images[0], volume, "--source-pixel", 1, "--angle", 5), "TARGET that is a plane"),
        ((images[0], volume, "--source-pixel", 1, "--target-pixel", 1), "TARGET that is a plane"),
        ((images[0], volume, "--source-pixel", 1, "--matcher", "semantic"), "is a plane"),
        ((*images, *PIXELS, "--orientation", "+z+y+x"), "TARGET that is a volume"),
        ((*images, *PIXELS, "--target-voxel", 1, 1, 1), "TARGET that is a volume"),
        ((images[0], volume, "--source-pixel", 1), "--target-voxel"),
    ):
        code, _, err = call("register-images", *arguments)
        assert code == 2
        (line,) = err.splitlines()
        assert words in line
    assert matcher.calls == []
