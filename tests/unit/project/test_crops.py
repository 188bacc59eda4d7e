"""The one way in which a project's crops are cut."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import CropSpec, extract_crops
from napari_neurobridge.project.crops import aligned_frame, orientation_frame, require_image_at
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import Role, SomaSource

MakeProject = Callable[[int], Project]


def _centers(project: Project, dataset: str) -> np.ndarray:
    somata = project.state().somata[dataset]
    return np.array([somata[uid].center_um for uid in sorted(somata)])


def _alike(project: Project, frame) -> float:
    """Mean correlation of the crops of both sides, around cells far from the borders."""
    here, there = _centers(project, "two_photon"), _centers(project, "fmost")
    inner = np.argsort(np.abs(here / (90, 150, 150) - 0.5).max(axis=1))[:6]
    crops = project.crops("two_photon", here[inner]), project.crops("fmost", there[inner], frame)
    first, second = (side.reshape(len(inner), -1) for side in crops)
    return float(np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(first, second, strict=True)]))


def test_without_a_frame_crops_are_cut_as_the_orientation_says_to_the_bit(tilted_project) -> None:
    project = tilted_project(0)
    centers = _centers(project, "fmost")
    linear = project.dataset("fmost").orientation.linear()
    expected = extract_crops(project.volume("fmost"), centers, linear=linear)
    np.testing.assert_array_equal(project.crops("fmost", centers), expected)
    frame = orientation_frame(project, "fmost")
    np.testing.assert_array_equal(project.crops("fmost", centers, frame), expected)


def test_without_a_pair_the_frame_is_that_of_the_orientation(tilted_project) -> None:
    project = tilted_project(0)
    frame = aligned_frame(project, "fmost", "two_photon")
    assert not frame.departs(_centers(project, "fmost")).any()


def test_both_sides_show_the_same_pose_once_six_pairs_are_accepted(
    tilted_project: MakeProject,
) -> None:
    project = tilted_project(6)
    frame = aligned_frame(project, "fmost", "two_photon")
    before = _alike(project, None)
    after = _alike(project, frame)
    assert after > 0.93
    assert after > before + 0.1


def test_the_two_photon_side_is_always_seen_along_its_own_axis(tilted_project) -> None:
    project = tilted_project(6)
    frame = aligned_frame(project, "two_photon", "fmost")
    assert frame.key == "orientation"
    np.testing.assert_array_equal(frame.linears(_centers(project, "two_photon")), np.eye(3))


def test_a_turn_that_pairs_leave_open_is_not_taken_from_them(tilted_project: MakeProject) -> None:
    """Pairs along a line, and nobody said how the datasets lie."""
    project = tilted_project(0)
    project.update_dataset("fmost", orientation=None)
    along = np.linspace(20, 70, 5)[:, None] * [1.0, 1.0, 1.0]
    sides = [
        annotate.add_somata(project, name, places, source=SomaSource.MANUAL)
        for name, places in (("two_photon", along), ("fmost", along[:, ::-1] + [0.0, 0.0, 9.0]))
    ]
    for here, there in zip(*sides, strict=True):
        annotate.accept(project, here.uid, there.uid, annotator="test")
    assert aligned_frame(project, "fmost", "two_photon").key == "orientation"


def test_deeper_crops_lie_along_the_optical_axis_of_their_frame(tilted_project) -> None:
    project = tilted_project(6)
    frame = aligned_frame(project, "fmost", "two_photon")
    center = _centers(project, "fmost")[:1]
    (linear,) = frame.linears(center)
    deeper = project.crops("fmost", center, frame, depth_um=12.0)
    expected = extract_crops(project.volume("fmost"), center + 12.0 * linear[:, 0], linear=linear)
    np.testing.assert_array_equal(deeper, expected)


def test_what_cannot_be_cropped_is_said_in_one_sentence(tilted_project, empty_project) -> None:
    with pytest.raises(InputError, match="'two_photon' has points but no image"):
        empty_project.crops("two_photon", [(0.0, 0.0, 0.0)])
    project = tilted_project(0)
    with pytest.raises(InputError, match="no dataset 'confocal'"):
        project.crops("confocal", [(0.0, 0.0, 0.0)])
    with pytest.raises(InputError, match="NaN or infinite"):
        project.crops("fmost", [(0.0, np.nan, 0.0)])
    assert project.crops("fmost", np.zeros((0, 3))).shape == (0, 150, 150)


def test_a_place_must_lie_within_reach_of_the_image(tilted_project, empty_project) -> None:
    project = tilted_project(0)
    require_image_at(project, "fmost", (-10.0, 50.0, 50.0))
    with pytest.raises(InputError, match="lies outside 'fmost'"):
        require_image_at(project, "fmost", (-10.0, -500.0, 50.0))
    with pytest.raises(InputError, match="lies outside 'fmost'"):
        # The slab is thinner than the crop is wide.
        require_image_at(project, "fmost", (50.0, -30.0, 50.0), CropSpec(slab_um=20.0))
    require_image_at(empty_project, "fmost", (1e6, 0.0, 0.0))


@pytest.mark.parametrize(
    ("dataset", "role", "turned"),
    [("two_photon", Role.IN_VIVO, set()), ("fmost", Role.EX_VIVO, {"second"})],
)
def test_of_two_datasets_of_one_microscope_one_at_most_is_turned(
    tilted_project: MakeProject, dataset: str, role: Role, turned: set[str]
) -> None:
    project = tilted_project(0)
    spec = project.dataset(dataset).model_copy(update={"name": "second", "role": role})
    project.add_dataset(spec)
    frames = {
        name: aligned_frame(project, name, other)
        for name, other in ((dataset, "second"), ("second", dataset))
    }
    assert {name for name, frame in frames.items() if frame.alignment is not None} == turned
    # Nothing was accepted between the two: the orientations say it all.
    assert not any(frame.departs([(50.0, 60.0, 70.0)]).any() for frame in frames.values())
