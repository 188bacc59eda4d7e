"""The quality page of a registration."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from beacons import BeaconMatcher, plane_of, scattered
from napari_neurobridge.insight.registration_page import RegisteredPlanes, write_registration_page
from napari_neurobridge.registration.image_registration import register_planes

PLACES = scattered(45, 200)


def page_of(folder: Path, matcher: BeaconMatcher) -> tuple[RegisteredPlanes, str]:
    source = plane_of(PLACES, (200, 200))
    target = plane_of(PLACES + 20.0, (240, 240))
    found = register_planes(source, target, matcher, angles=(0.0,))
    planes = RegisteredPlanes(source, target, found, ("site <3>", "fmost"))
    path = write_registration_page(planes, folder / "pages" / "quality.html")
    return planes, path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def accepted(tmp_path_factory) -> tuple[RegisteredPlanes, str]:
    return page_of(tmp_path_factory.mktemp("accepted"), BeaconMatcher())


def test_it_says_the_decision_and_all_evidence(accepted) -> None:
    planes, html = accepted
    assert planes.found.decision.accepted
    assert f"Accepted. {planes.found.decision.reason}" in html
    for name in planes.found.evidence.model_dump():
        assert f"<td>{name}</td>" in html
    assert "180°" in html
    assert "0°, mirrored" in html


def test_it_is_one_file_without_scripts_or_network(accepted) -> None:
    _, html = accepted
    assert "<script" not in html
    assert "http" not in re.sub(r"base64,[^\"]*", "", html)
    assert "site &lt;3&gt;" in html
    pictures = re.findall(r'alt="([^"]+)" src="data:image/png;base64,', html)
    assert len(pictures) == 3


def test_a_refusal_without_a_map_shows_both_planes(tmp_path) -> None:
    planes, html = page_of(tmp_path, BeaconMatcher(wrong=1.0, verified_wrong=0.0))
    assert planes.found.fitted is None
    assert f"Refused. {planes.found.decision.reason}" in html
    assert len(re.findall("base64,", html)) == 1
    assert "unknown" in html


def test_a_refusal_with_a_map_shows_what_it_would_be(tmp_path) -> None:
    planes, html = page_of(tmp_path, BeaconMatcher(wrong=1.0, verified_wrong=1.0, seed=3))
    assert not planes.found.decision.accepted
    assert "Refused." in html
    assert np.isfinite(planes.found.evidence.margin)
