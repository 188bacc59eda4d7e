"""Other programs' pairs are claims to review, on which nothing rests."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fixtures.projects import accept_true_pairs
from fixtures.rois import disks, write_cellreg, write_roicat, write_suite2p, write_track2p
from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.rois.read import RoiReading
from napari_neurobridge.io.rois.suite2p import Kept
from napari_neurobridge.io.tracking import CountedRows
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.fold import fold
from napari_neurobridge.project.log.merging import merge
from napari_neurobridge.workflows.claims import ClaimStatus, import_matches, review_claims
from napari_neurobridge.workflows.match import match_all, questions_of
from napari_neurobridge.workflows.pair_crops import accepted_pairs
from napari_neurobridge.workflows.rois import RoiPlace, import_rois

MASKS = disks([(10, 12), (30, 60), (50, 20), (50, 60)], 5, (64, 80))
SESSIONS = {"two_photon": 0, "fmost": 1}
PAIRS = {("s2p-p0-00000", "fmost-s2p-p0-00003"), ("s2p-p0-00002", "fmost-s2p-p0-00000")}


@pytest.fixture
def tracked(empty_project: Project, tmp_path: Path) -> Project:
    """A project with four ROIs on either side, of which the second is no cell."""
    plane = write_suite2p(tmp_path / "plane0", MASKS, iscell=[1, 0, 1, 1])
    for dataset in SESSIONS:
        import_rois(empty_project, dataset, plane, place=RoiPlace(pixel_um=1.0))
    return empty_project


def claimed(project: Project) -> set[tuple[str, str]]:
    return {claim.pair for claim in project.state().claims}


def test_each_program_counts_in_its_own_way(tracked: Project, tmp_path: Path) -> None:
    # The same two pairs: ROIs 0 and 3 of the files, and 2 and 0; the others are no cells.
    labels = [[5, 9, 6, -1], [6, 9, -1, 5]]
    found = import_matches(tracked, write_roicat(tmp_path / "r.json", labels), SESSIONS)
    assert (found.program, found.n_claims, found.n_left_out) == ("ROICaT", 2, 1)
    assert claimed(tracked) == PAIRS
    rows = [[0, 2], [1, 0], [2, None]]  # among those that are kept
    found = import_matches(tracked, write_track2p(tmp_path, rows), SESSIONS)
    assert (found.program, found.n_claims) == ("Track2p", 2)
    assert claimed(tracked) == PAIRS
    path = write_cellreg(tmp_path / "c.mat", [[0, 3], [2, 0]])
    with pytest.raises(InputError, match="of the 4 ROIs of 'two_photon' 3 were kept") as caught:
        import_matches(tracked, path, SESSIONS)
    assert caught.value.kind is ErrorKind.UNKNOWN_ROWS
    import_matches(tracked, path, SESSIONS, counted=CountedRows.FILE)
    assert {c.pair for c in tracked.state().claims if c.program == "CellReg"} == PAIRS
    path = write_cellreg(tmp_path / "c.mat", [[0, 2], [1, 0]])
    import_matches(tracked, path, SESSIONS, counted=CountedRows.KEPT)
    assert {c.pair for c in tracked.state().claims if c.program == "CellReg"} == PAIRS
    assert len(tracked.state().claims) == 6, "what a program says last replaces what it said"


def test_another_rule_of_choice_is_told(empty_project: Project, tmp_path: Path) -> None:
    plane = write_suite2p(tmp_path / "plane0", MASKS, iscell=[0.9, 0.1, 0.8, 0.7])
    for dataset in SESSIONS:
        import_rois(
            empty_project, dataset, plane, place=RoiPlace(pixel_um=1.0),
            reading=RoiReading(Kept(min_probability=0.5)),
        )  # fmt: skip
    with pytest.raises(InputError, match="import them by the same rule"):
        import_matches(empty_project, write_track2p(tmp_path, [[0, 1]]), SESSIONS)
    import_matches(empty_project, write_track2p(tmp_path, [[0, 1]], threshold=0.5), SESSIONS)
    assert claimed(empty_project) == {("s2p-p0-00000", "fmost-s2p-p0-00002")}


def test_a_table_names_uids(tracked: Project, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("fmost_uid;two_photon_uid;score\nfmost-s2p-p0-00003;s2p-p0-00000;0,75\n")
    import_matches(tracked, path)
    (claim,) = tracked.state().claims
    assert claim.pair == ("s2p-p0-00000", "fmost-s2p-p0-00003")
    assert claim.datasets == ("two_photon", "fmost")
    assert (claim.program, claim.score) == ("table", 0.75)
    path.write_text("fmost_uid,two_photon_uid\nfmost-s2p-p0-00003,gone\n")
    with pytest.raises(InputError, match="line 2, names 'gone', which is no soma of 'two_photon'"):
        import_matches(tracked, path)
    path.write_text("a_uid,b_uid\n1,2\n")
    with pytest.raises(InputError, match="needs two columns of uids"):
        import_matches(tracked, path)


def test_what_numbers_mean_has_to_be_known(
    tracked: Project, empty_project: Project, tmp_path: Path
) -> None:
    path = write_roicat(tmp_path / "r.json", [[5], [5]])
    for sessions in (None, {"two_photon": 0}):
        with pytest.raises(InputError, match="is about sessions"):
            import_matches(tracked, path, sessions)
    labels = write_roicat(tmp_path / "r.json", [[-1, 5], [-1, 5]])
    with pytest.raises(InputError, match="no cell of which both sides"):
        import_matches(tracked, labels, SESSIONS)
    more = write_suite2p(tmp_path / "plane1", MASKS, iscell=[1, 1, 1, 1])
    import_rois(tracked, "two_photon", more, place=RoiPlace(pixel_um=1.0, z_um=30))
    with pytest.raises(InputError, match="ROIs of 2 files were imported into 'two_photon'"):
        import_matches(tracked, path, SESSIONS)
    import_matches(tracked, write_track2p(tmp_path, [[0, 2]]), SESSIONS)  # of plane 0
    assert claimed(tracked) == {("s2p-p0-00000", "fmost-s2p-p0-00003")}


def test_without_imported_rois_numbers_name_nobody(
    points_project_folder: Path, tmp_path: Path
) -> None:
    project = Project.open(points_project_folder)
    with pytest.raises(InputError, match="No ROIs were imported") as caught:
        import_matches(project, write_roicat(tmp_path / "r.json", [[5], [5]]), SESSIONS)
    assert caught.value.kind is ErrorKind.NO_ROIS
    project.close()


@pytest.fixture
def with_claims(points_project_folder: Path, tmp_path: Path) -> Project:
    """A project of points with six accepted pairs, and a wrong claim about each other cell."""
    project = Project.open(points_project_folder)
    accept_true_pairs(project, range(0, 30, 5))
    state = project.state()
    taken = {uid for pair in state.pairs.items() for uid in pair}
    first = [uid for uid in state.somata["two_photon"] if uid not in taken]
    second = [uid for uid in state.somata["fmost"] if uid not in taken]
    lines = [f"{a},{b}" for a, b in zip(first, reversed(second), strict=False)]
    (tmp_path / "claims.csv").write_text("\n".join(["two_photon_uid,fmost_uid", *lines]))
    return project


def test_nothing_rests_on_a_claim(with_claims: Project, tmp_path: Path) -> None:
    before = with_claims.state()
    matched = match_all(with_claims).matched()
    alignment = with_claims.alignment("two_photon", "fmost")
    import_matches(with_claims, tmp_path / "claims.csv")
    after = with_claims.state()
    assert len(after.claims) == 44
    # All of the state but the claims, and the history in which the import can be undone.
    assert replace(after, claims=(), histories=before.histories) == before
    assert with_claims.alignment("two_photon", "fmost").id == alignment.id
    assert match_all(with_claims).matched() == matched
    with pytest.raises(InputError, match="no image"):
        accepted_pairs(with_claims)
    with_claims.close()


def test_claims_are_asked_first_and_say_whose_they_are(
    with_claims: Project, tmp_path: Path
) -> None:
    before = [item.uid for item in questions_of(with_claims, None)]
    import_matches(with_claims, tmp_path / "claims.csv")
    annotate.undo(with_claims)
    assert [item.uid for item in questions_of(with_claims, None)] == before
    lines = (tmp_path / "claims.csv").read_text().splitlines()
    (tmp_path / "two.csv").write_text("\n".join([lines[0], *lines[-2:]]))
    import_matches(with_claims, tmp_path / "two.csv")
    items = questions_of(with_claims, None)
    assert sorted(item.uid for item in items) == sorted(before), "each cell once"
    asked = [item for item in items if not item.audit]
    for item, line in zip(asked[:2], sorted(lines[-2:]), strict=True):
        uid, partner = line.split(",")
        assert item.uid == uid
        assert item.reason == f"table pairs it with {partner}; look whether that is right"
    assert not any("table pairs" in item.reason for item in items if item.audit), "audits are blind"
    with_claims.close()


def test_reviews_are_verdicts(tracked: Project, tmp_path: Path) -> None:
    labels = [[5, -1, 6, 7], [6, -1, 7, 5]]
    import_matches(tracked, write_roicat(tmp_path / "r.json", labels), SESSIONS)

    def statuses() -> list[ClaimStatus]:
        return [reviewed.status for reviewed in review_claims(tracked.state())]

    assert statuses() == [ClaimStatus.WAITING] * 3
    pairs = [reviewed.claim.pair for reviewed in review_claims(tracked.state())]
    annotate.accept(tracked, *pairs[0])
    annotate.reject(tracked, *reversed(pairs[1]))
    annotate.unsure(tracked, *pairs[2])
    assert statuses() == [ClaimStatus.ACCEPTED, ClaimStatus.REJECTED, ClaimStatus.UNSURE]
    assert tracked.state().pairs == dict(pairs[:1])
    for _ in range(3):
        annotate.undo(tracked)
    annotate.accept(tracked, pairs[0][0], pairs[1][1])
    assert statuses() == [ClaimStatus.CONTRADICTED, ClaimStatus.CONTRADICTED, ClaimStatus.WAITING]
    annotate.undo(tracked)
    annotate.none(tracked, pairs[0][0])
    annotate.delete_soma(tracked, pairs[2][1])
    assert statuses() == [ClaimStatus.CONTRADICTED, ClaimStatus.WAITING, ClaimStatus.GONE]


def test_claims_fold_alike_in_any_order(tracked: Project, tmp_path: Path) -> None:
    shutil.copytree(tracked.path, tmp_path / "copy.neurobridge")
    copy = Project.open(tmp_path / "copy.neurobridge")
    import_matches(
        tracked, write_roicat(tmp_path / "r.json", [[5], [5]]), SESSIONS, annotator="anna"
    )
    import_matches(copy, write_track2p(tmp_path, [[0, 2]]), SESSIONS, annotator="ben")
    import_matches(
        copy, write_roicat(tmp_path / "r.json", [[5], [-1, -1, 5]]), SESSIONS, annotator="ben"
    )
    annotate.undo(copy, "ben")
    merge(tracked, copy)
    merge(copy, tracked)
    assert tracked.state().claims == copy.state().claims
    assert len(tracked.state().claims) == 2
    events = tracked.log.events()
    rng = np.random.default_rng(0)
    for _ in range(20):
        shuffled = [events[row] for row in rng.permutation(len(events))]
        assert fold([*shuffled, *shuffled[:3]]).claims == tracked.state().claims
    copy.close()
