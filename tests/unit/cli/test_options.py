"""Text from the command line becomes orientations and values for datasets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from napari_neurobridge.cli._options import LevelOption, parse_assignments, parse_orientation
from napari_neurobridge.cli.simulate import LabelsOption
from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.levels import LEVELS
from napari_neurobridge.simulation.optics.labels import REGIMES
from napari_neurobridge.spaces.orientation import Orientation


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+y+z-x", Orientation(axes="+y+z-x")),
        ("-y,z,x", Orientation(axes="-y+z+x")),
        ("+y+z-x,angle=10,expansion=0.8", Orientation(axes="+y+z-x", angle_deg=10, expansion=0.8)),
        ("zyx, angle=-2.5", Orientation(angle_deg=-2.5)),
    ],
)
def test_orientation_is_read(text: str, expected: Orientation) -> None:
    assert parse_orientation(text) == expected


def test_orientation_is_read_from_a_file(tmp_path: Path) -> None:
    orientation = Orientation(axes="+x-y+z", angle_deg=12.0, shift_um=(1.0, 2.0, 3.0))
    path = tmp_path / "orientation.json"
    path.write_text(orientation.model_dump_json(), encoding="utf-8")
    assert parse_orientation(str(path)) == orientation


@pytest.mark.parametrize(
    "text",
    ["+y+y-x", "up", "zyx,angle=far", "zyx,tilt=3", "zyx,expansion=0", "", "missing.json"],
)
def test_what_is_no_orientation_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_orientation(text)
    assert "\n" not in str(caught.value)


def test_a_named_value_wins_over_a_bare_one() -> None:
    names = ("two_photon", "fmost")
    assert parse_assignments(["zyx"], names, "--axes") == {"two_photon": "zyx", "fmost": "zyx"}
    values = parse_assignments(["two_photon=tyx", "zyx"], names, "--axes")
    assert values == {"two_photon": "tyx", "fmost": "zyx"}
    assert parse_assignments(["fmost=1"], names, "--channel") == {"fmost": "1"}


def test_an_assignment_to_an_unknown_dataset_is_refused() -> None:
    with pytest.raises(InputError, match=r"--axes names 'fm', but the datasets are two_photon"):
        parse_assignments(["fm=zyx"], ("two_photon", "fmost"), "--axes")


def help_of(option: object) -> str:
    return get_args(option)[1].help


def test_help_names_every_level_and_label_regime() -> None:
    levels = re.findall(r"[\w-]+", help_of(LevelOption))
    assert set(LEVELS) <= set(levels)
    assert set(REGIMES) <= set(re.findall(r"\w+-\w+", help_of(LabelsOption)))
