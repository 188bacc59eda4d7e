"""Somata that were added or moved are embedded unasked, and cost one cell until then."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from fixtures.loops import Loop
from fixtures.projects import N_CELLS, ThumbnailEncoder, true_partner
from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.appearance.shards import gallery_folder
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.workbench import child_process, indexing
from napari_neurobridge.workbench.checklist import ChecklistItem, IndexState, Step
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.workbench import Workbench

N_ALL = 2 * N_CELLS
NEW = (40.0, 100.0, 100.0)


class Gate(ThumbnailEncoder):
    """Embeds somata one by one when it may; crops of a query pass."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()
        self.seen: list[int] = []
        self.refusal: Exception | None = None

    def embed(self, crops: object, report: object = None) -> object:
        if report is not None:  # by the index alone
            self.entered.set()
            assert self.open.wait(60)
            if self.refusal is not None:
                raise self.refusal
            self.seen.append(len(crops))
        return super().embed(crops)


@pytest.fixture
def gate(thumbnail_encoder: ThumbnailEncoder, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """An encoder whose index waits; the same model in every other respect."""
    gate = Gate()
    monkeypatch.setattr(
        "napari_neurobridge.workbench.models.EncoderCache.load", lambda self, project, model: gate
    )
    return gate


@pytest.fixture
def bench(loop: Loop, gate: Gate, project: Project) -> Iterator[Workbench]:
    """Six pairs are accepted, and all cells are matched from them with their pictures."""
    for uid in sorted(project.state().somata["two_photon"])[:6]:
        annotate.accept(project, uid, true_partner(uid), annotator="me")
    bench = Workbench(loop, annotator="me")
    bench.session.set_project(project)
    loop.run_until(lambda: settled(bench) and bench.setup.index_state is not None)
    yield bench
    gate.open.set()
    bench.close()


def settled(bench: Workbench) -> bool:
    return bench.matches.match is not None and not bench.matches.updating


def item(bench: Workbench) -> ChecklistItem:
    return next(item for item in bench.setup.checklist() if item.step is Step.INDEX)


def n_indexed(bench: Workbench) -> int | None:
    state = bench.setup.index_state
    return None if state is None else state.n_embedded


def test_a_new_soma_costs_one_cell_until_it_is_embedded_unasked(bench, loop, gate) -> None:
    whole = bench.matches.match
    assert whole.appearance is not None
    bench.verdicts.add_somata("two_photon", [NEW])
    loop.run_until(lambda: settled(bench) and bench.matches.match is not whole)
    first = bench.matches.match
    assert first.appearance is not None
    assert len(first.not_indexed) == 1
    assert "1 cell not indexed: judged by place only." in bench.matches.notes
    loop.run_until(lambda: bench.setup.index_state.n_late == 1)
    assert item(bench).detail.endswith("; 1 cell not indexed: judged by place only")
    assert item(bench).done, "nobody has to press Index"

    gate.open.set()
    loop.run_until(lambda: settled(bench) and not bench.matches.match.not_indexed)
    assert bench.matches.match.appearance is not None
    assert not any("not indexed" in note for note in bench.matches.notes)
    loop.run_until(lambda: n_indexed(bench) == N_ALL + 1)
    assert "not indexed" not in item(bench).detail
    assert gate.seen == [1]


def test_a_soma_that_is_moved_is_embedded_again_where_it_is_now(bench, loop, gate) -> None:
    gate.open.set()
    uid = sorted(bench.project.state().somata["fmost"])[-1]
    z, y, x = bench.project.state().soma(uid).center_um
    bench.verdicts.move_somata("fmost", [uid], [(z, y + 5.0, x)])
    loop.run_until(lambda: gate.seen == [1] and n_indexed(bench) == N_ALL)
    bench.verdicts.undo()
    loop.run_until(lambda: settled(bench))
    loop.finish(bench.session.jobs)
    assert n_indexed(bench) == N_ALL, "the embedding of the old place is still there"
    assert gate.seen == [1]


def test_what_is_added_meanwhile_is_embedded_next(bench, loop, gate) -> None:
    bench.verdicts.add_somata("two_photon", [NEW])
    loop.run_until(gate.entered.is_set)
    for z in (30.0, 50.0):
        bench.verdicts.add_somata("two_photon", [(z, 90.0, 80.0)])
    gate.open.set()
    loop.run_until(lambda: n_indexed(bench) == N_ALL + 3)
    loop.run_until(lambda: settled(bench) and not bench.matches.match.not_indexed)
    assert gate.seen == [1, 2]


def test_with_nothing_indexed_nobody_has_asked_yet(loop, gate, project) -> None:
    for shard in project.embeddings_dir.rglob("shard-*"):
        shard.unlink()
    gate.open.set()
    bench = Workbench(loop, annotator="me")
    bench.session.set_project(project)
    loop.run_until(lambda: n_indexed(bench) == 0)
    loop.finish(bench.session.jobs)
    assert gate.seen == []
    assert not item(bench).done
    bench.close()


def test_many_somata_are_left_to_the_index(bench, loop, gate, monkeypatch) -> None:
    monkeypatch.setattr(indexing, "MOST_EMBEDDED_UNASKED", 1)
    gate.open.set()
    bench.verdicts.add_somata("two_photon", [NEW, (30.0, 90.0, 80.0)])
    loop.run_until(lambda: bench.setup.index_state.n_late == 2)
    loop.finish(bench.session.jobs)
    assert gate.seen == []
    assert "2 cells not indexed: judged by place only" in item(bench).detail


def test_while_a_long_job_holds_the_project_nothing_is_said(bench, loop, gate) -> None:
    notices: list[Notice] = []
    bench.session.notified.connect(notices.append)
    gate.open.set()
    with bench.project.lock():
        bench.verdicts.add_somata("two_photon", [NEW])
        loop.run_until(lambda: bench.setup.index_state.n_late == 1)
        loop.run_until(lambda: not bench.indexing.embedding)
    assert not any(notice.is_error for notice in notices)
    bench.setup.refresh()  # as the job does when it is over
    loop.run_until(lambda: n_indexed(bench) == N_ALL + 1)


def test_what_cannot_be_embedded_is_told(bench, loop, gate) -> None:
    notices: list[Notice] = []
    bench.session.notified.connect(notices.append)
    gate.refusal = InputError("The image is gone.")
    gate.open.set()
    bench.verdicts.add_somata("two_photon", [NEW])
    loop.run_until(lambda: any(notice.is_error for notice in notices))
    assert notices[-1].text == "The image is gone."
    assert not bench.indexing.embedding


def test_an_index_of_which_few_are_missing_is_done() -> None:
    assert IndexState(2011, 2012, n_late=1).lacks_few
    assert not IndexState(256, 2012, n_late=1756).lacks_few
    words = IndexState(256, 2012, n_late=1756).in_words()
    assert words == "256 of 2012 somata embedded; 1756 cells not indexed: judged by place only"


def test_after_a_cancelled_index_it_is_told_what_was_kept_and_nothing_goes_on_unasked(
    bench, loop, gate, monkeypatch
) -> None:
    monkeypatch.setattr(
        child_process, "_COMMAND", (sys.executable, "-c", "import time; time.sleep(600)")
    )
    notices: list[Notice] = []
    bench.session.notified.connect(notices.append)
    whole = bench.matches.match
    # What a run has come to when it is cancelled: the two-photon side, and nothing else.
    for shard in gallery_folder(bench.project, gate, "fmost").iterdir():
        shard.unlink()
    gate.open.set()
    bench.setup.index()
    bench.session.jobs.cancel("index")
    loop.run_until(lambda: any("kept" in notice.text for notice in notices))
    assert notices[-1].text == (
        f"Index cancelled: {N_CELLS} of {N_ALL} kept. Press Index to go on from there."
    )
    assert item(bench).detail.startswith(f"{N_CELLS} of {N_ALL} somata embedded")
    loop.run_until(lambda: settled(bench) and bench.matches.match is not whole)
    bench.indexing.count()
    loop.finish(bench.session.jobs)
    assert gate.seen == []
