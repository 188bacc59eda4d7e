"""BigWarp landmarks become pairs where both lie on somata, and other landmarks elsewhere."""

from __future__ import annotations

import json

import numpy as np
import pytest

import napari_neurobridge as nb
from fixtures.projects import accept_true_pairs, true_partner
from napari_neurobridge.cli._run import run
from napari_neurobridge.errors import InputError, InvalidActionError
from napari_neurobridge.io.transforms.bigwarp import BigWarpLandmarks, write_bigwarp
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import Role
from napari_neurobridge.workflows.landmarks import import_landmarks
from napari_neurobridge.workflows.setup import DatasetSource, create_project


@pytest.fixture
def project(points_project_folder):
    opened = Project.open(points_project_folder)
    yield opened
    opened.close()


def pairs_of(project, n):
    """Return the first true pairs, and their places on both sides."""
    somata = project.state().somata
    pairs = [
        (uid, true_partner(uid))
        for uid in somata["two_photon"]
        if true_partner(uid) in somata["fmost"]
    ][:n]
    fixed = np.array([somata["two_photon"][a].center_um for a, _ in pairs])
    moving = np.array([somata["fmost"][b].center_um for _, b in pairs])
    return pairs, fixed, moving


def test_landmarks_on_somata_are_accepted_and_the_others_told(project, tmp_path):
    pairs, fixed, moving = pairs_of(project, 6)
    fixed[:2] += (0.0, 1.0, -1.5)
    fixed[2] += 500.0
    moving[3] = np.inf
    active = np.array([True, True, True, True, False, True])
    names = tuple(f"Pt-{row}" for row in range(6))
    path = write_bigwarp(tmp_path / "marks.csv", BigWarpLandmarks(names, active, moving, fixed))
    found = import_landmarks(project, path)
    assert found.pairs == (pairs[0], pairs[1], pairs[5])
    assert project.state().pairs_between("two_photon", "fmost") == dict(found.pairs)
    assert found.points == ("Pt-2",)
    (mark,) = project.state().landmarks.living.values()
    np.testing.assert_allclose(mark.places_um, [fixed[2], moving[2]])
    assert mark.sigma_um == 5.0
    assert found.left_out == (
        "Pt-3 has no place in 'fmost'.",
        "Pt-4 is switched off in BigWarp.",
    )
    # One step of undo for all of them.
    annotate.undo(project)
    assert not project.state().pairs
    assert not project.state().landmarks.living


def test_pairs_that_are_known_or_named_twice_are_told(project, tmp_path):
    pairs, fixed, moving = pairs_of(project, 3)
    annotate.accept(project, *pairs[0])
    rows = [0, 1, 1, 2]
    moving, fixed = moving[rows], fixed[rows]
    moving[2] = moving[3]
    path = write_bigwarp(tmp_path / "marks.csv", BigWarpLandmarks.of_places(moving, fixed))
    found = import_landmarks(project, path)
    assert found.pairs == (pairs[1], pairs[2])
    assert found.left_out == (
        f"Pt-0 is on '{pairs[0][0]}' and '{pairs[0][1]}', which are accepted already.",
        f"Pt-2 is on '{pairs[1][0]}', as Pt-1 is.",
    )
    again = import_landmarks(project, path)
    assert again.pairs == ()
    assert len(again.left_out) == 4


def test_what_contradicts_a_pair_is_refused_as_a_whole_unless_forced(project, tmp_path):
    pairs, fixed, moving = pairs_of(project, 3)
    annotate.accept(project, pairs[0][0], pairs[1][1])
    path = write_bigwarp(tmp_path / "marks.csv", BigWarpLandmarks.of_places(moving, fixed))
    with pytest.raises(InvalidActionError):
        import_landmarks(project, path)
    assert len(project.state().pairs_between("two_photon", "fmost")) == 1
    import_landmarks(project, path, force=True)
    assert project.state().pairs_between("two_photon", "fmost") == dict(pairs)


def test_the_sides_can_be_named_the_other_way(project, tmp_path):
    pairs, fixed, moving = pairs_of(project, 4)
    path = write_bigwarp(tmp_path / "marks.csv", BigWarpLandmarks.of_places(fixed, moving))
    found = import_landmarks(project, path, fixed="fmost", moving="two_photon")
    assert found.pairs == tuple(pair[::-1] for pair in pairs)
    assert project.state().pairs_between("two_photon", "fmost") == dict(pairs)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda fixed, moving: (fixed, moving / 1000), r"second side is \d+ times smaller"),
        (lambda fixed, moving: (fixed / 1000, moving / 1000), "are probably in mm"),
        (lambda fixed, moving: (fixed + np.inf, moving), "both places; Pt-0 has no place in 'two"),
        (lambda fixed, moving: (fixed[:, 1:], moving[:, 1:]), "of two dimensions.* in one plane"),
    ],
)
def test_bad_landmarks_are_refused_in_one_sentence(project, tmp_path, change, sentence):
    _, fixed, moving = pairs_of(project, 5)
    fixed, moving = change(fixed, moving)
    path = write_bigwarp(tmp_path / "marks.csv", BigWarpLandmarks.of_places(moving, fixed))
    with pytest.raises(InputError, match=sentence) as error:
        import_landmarks(project, path)
    assert "\n" not in str(error.value)
    assert not project.state().pairs


def test_wrong_requests_are_refused(project, tmp_path):
    with pytest.raises(InputError, match="no dataset 'brain'"):
        import_landmarks(project, tmp_path / "marks.csv", moving="brain")
    with pytest.raises(InputError, match="both the fixed and the moving"):
        import_landmarks(project, tmp_path / "marks.csv", moving="two_photon")
    with pytest.raises(InputError, match="positive number of µm"):
        import_landmarks(project, tmp_path / "marks.csv", within_um=0)


def test_flat_landmarks_belong_to_flat_datasets(tmp_path):
    places = np.random.default_rng(0).uniform(0, 400, (8, 3))
    for name, depth in (("two_photon", 0.0), ("fmost", 12.0)):
        places[:, 0] = depth
        lines = [f"{name}-{i},{z},{y},{x}" for i, (z, y, x) in enumerate(places.tolist())]
        (tmp_path / f"{name}.csv").write_text("\n".join(["uid,z_um,y_um,x_um", *lines]))
    roles = {"two_photon": Role.IN_VIVO, "fmost": Role.EX_VIVO}
    sources = [
        DatasetSource(name=name, role=role, points=tmp_path / f"{name}.csv")
        for name, role in roles.items()
    ]
    flat = create_project(tmp_path / "flat.neurobridge", sources)
    table = BigWarpLandmarks.of_places(places[:, 1:], places[:, 1:])
    found = import_landmarks(flat, write_bigwarp(tmp_path / "marks.csv", table))
    assert found.pairs == tuple((f"two_photon-{i}", f"fmost-{i}") for i in range(8))
    flat.close()


def test_what_is_exported_comes_back(project, tmp_path):
    accept_true_pairs(project, range(5))
    known = project.state().pairs_between("two_photon", "fmost")
    with nb.open(project.path) as p:
        p.export_transform(tmp_path / "marks.csv", "bigwarp")
        annotate.undo(project, "fixture")
        table = p.import_landmarks(tmp_path / "marks.csv")
        assert len(table) == 1
        assert len(table.attrs["left_out"]) == len(known) - 1
    assert project.state().pairs_between("two_photon", "fmost") == known


def test_the_command_answers_in_json_and_in_words(project, tmp_path, capsys):
    pairs, fixed, moving = pairs_of(project, 3)
    fixed[2] += 500.0
    path = write_bigwarp(tmp_path / "marks.csv", BigWarpLandmarks.of_places(moving, fixed))
    command = ["import-landmarks", str(project.path), str(path), "--within-um", "2"]
    assert run([*command, "--json", "--progress", "none"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["n_landmarks"], said["n_pairs"], said["n_points"]) == (3, 2, 1)
    assert (said["fixed"], said["moving"]) == ("two_photon", "fmost")
    assert said["pairs"] == [list(pair) for pair in pairs[:2]]
    assert run([*command, "--progress", "none"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("0 of 3 landmarks are accepted pairs of 'two_photon' and 'fmost' now.")
    assert "accepted already" in out
    assert "is there already, as 'lm-" in out
    assert run([*command, "--sigma-um", "0"]) != 0
    assert "between 0.1 and 200 µm" in capsys.readouterr().err


def test_landmarks_without_a_soma_leave_and_come_back(project, tmp_path):
    accept_true_pairs(project, range(4))
    with nb.open(project.path) as p:
        sides = {"two_photon": (31.0, 77.25, 12.5), "fmost": (140.0, 8.0, 66.125)}
        uid = p.add_landmark(sides, sigma_um=7.0)
        p.change_landmark(uid, sigma_um=8.0, places_um={"fmost": (141.0, 8.0, 66.125)})
        sides["fmost"] = (141.0, 8.0, 66.125)
        assert p.landmarks().loc[uid, "sigma_um"] == 8.0
        p.export_transform(tmp_path / "marks.csv", "bigwarp")
        p.delete_landmark(uid)
        assert p.landmarks().empty
        table = p.import_landmarks(tmp_path / "marks.csv", sigma_um=3.0)
        assert table.attrs["points"] == ["Pt-4"]
        back = p.landmarks().iloc[0]
        assert back["sigma_um"] == 3.0
        assert tuple(back[[f"second_{axis}_um" for axis in "zyx"]]) == sides["fmost"]
        assert tuple(back[[f"first_{axis}_um" for axis in "zyx"]]) == sides["two_photon"]
