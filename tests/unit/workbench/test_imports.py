"""Tables of pairs, as verdicts or as claims."""

from __future__ import annotations

from pathlib import Path

from fixtures.loops import Loop
from fixtures.projects import true_partner
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.workbench import Workbench

SESSIONS = {"two_photon": 0, "fmost": 1}


def _table(workbench: Workbench, path: Path) -> dict[str, str]:
    """Write three true pairs by the places of their somata."""
    state = workbench.project.state()
    pairs = {uid: true_partner(uid) for uid in ("tp-00001", "tp-00002", "tp-00003")}
    columns = [f"{side}_{axis}_um" for side in ("two_photon", "fmost") for axis in "zyx"]
    rows = [
        [*map(str, (*state.soma(one).center_um, *state.soma(other).center_um))]
        for one, other in pairs.items()
    ]
    path.write_text("\n".join(",".join(row) for row in [columns, *rows]), encoding="utf-8")
    return pairs


def test_a_table_of_places_is_accepted_or_reviewed_as_the_user_says(
    workbench: Workbench, loop: Loop, notices: list[Notice], tmp_path: Path
) -> None:
    path = tmp_path / "pairs.csv"
    pairs = _table(workbench, path)
    workbench.imports.import_matches(path, SESSIONS)
    loop.run_until(lambda: len(workbench.project.state().claims) == 3)
    assert not workbench.project.state().pairs
    workbench.imports.accept_pairs(path)
    loop.run_until(lambda: any("verdicts from" in notice.text for notice in notices))
    assert workbench.project.state().pairs == pairs
    assert notices[-1].text == "recorded 3 verdicts from pairs.csv"
    workbench.verdicts.undo()
    loop.run_until(lambda: not workbench.project.state().pairs)


def test_pairs_that_contradict_and_files_that_are_no_tables_are_refused(
    workbench: Workbench, loop: Loop, notices: list[Notice], tmp_path: Path
) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("two_photon_uid,fmost_uid\ntp-00001,fm-00001\ntp-00001,fm-00002\n")
    workbench.imports.accept_pairs(path)
    loop.run_until(lambda: bool(notices))
    assert notices[-1].is_error
    assert not workbench.project.state().pairs, "all of them or none"
    workbench.imports.accept_pairs(tmp_path / "cellRegistered.mat")
    assert "can only be imported to be reviewed" in notices[-1].text
