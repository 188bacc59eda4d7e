"""``register-images``."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import tifffile

from beacons import BeaconMatcher, plane_of, scattered
from napari_neurobridge.cli import main
from napari_neurobridge.registration.quality import Evidence
from napari_neurobridge.workflows import register_images as workflow

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
