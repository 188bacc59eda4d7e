"""Voxel sizes that look like mistakes."""

from __future__ import annotations

import pytest

from napari_neurobridge.io.voxel_sizes import doubt_of

STACK = (100, 512, 512)


@pytest.mark.parametrize(
    "size", [(2.0, 0.65, 0.65), (5.0, 1.68, 1.68), (50.0, 25.0, 25.0), (0.05, 0.05, 0.05)]
)
def test_what_microscopes_make_is_believed(size) -> None:
    assert doubt_of(size, STACK) == ""


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((1680.0, 0.65, 0.65), ("1680 µm along z", "nm, which is 1.68 µm?")),
        ((2.0, 0.00065, 0.00065), ("0.00065 µm along y", "mm, which is 0.65 µm?")),
        ((2.0, 1.0, 1e7), ("1e+07 µm along x",)),
    ],
)
def test_a_slip_of_units_is_named_with_what_was_probably_meant(size, words) -> None:
    doubt = doubt_of(size, STACK)
    assert all(word in doubt for word in words)
    assert ("?" in doubt) == (len(words) == 2), "no guess where no unit makes it usual"


def test_an_image_longer_than_any_brain_is_doubted() -> None:
    assert "60 mm" in doubt_of((2.0, 30.0, 1.0), (100, 2000, 500))
    assert doubt_of((2.0, 24.0, 1.0), (100, 2000, 500)) == ""


def test_the_thickness_of_one_plane_is_nobody_s_mistake() -> None:
    assert doubt_of((300.0, 1.0, 1.0), (1, 512, 512)) == ""
