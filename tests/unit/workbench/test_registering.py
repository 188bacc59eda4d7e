"""Two images registered in the background, and the result corrected, without a window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from beacons import BeaconPattern, plane_of, scattered
from fixtures.loops import Loop
from napari_neurobridge.workbench.registering import REGISTER_JOB, Registering
from napari_neurobridge.workbench.session import Notice, Session
from napari_neurobridge.workflows.layers import LayerImage
from napari_neurobridge.workflows.register_layers import LayerPlane

PLACES = scattered(60, 220)
SHIFT = np.array([25.0, 35.0])


def layer_plane(places: np.ndarray, name: str) -> LayerPlane:
    values = plane_of(places, (300, 300)).values
    return LayerPlane(
        LayerImage(name, values, "yx", (1.0, 1.0, 1.0), None, None, np.eye(4)[:3]), layer=name
    )


SOURCE, TARGET = layer_plane(PLACES, "in vivo"), layer_plane(PLACES + SHIFT, "ex vivo")


@pytest.fixture
def session(loop: Loop) -> Iterator[Session]:
    opened = Session(loop, annotator="me")
    yield opened
    opened.jobs.close()


@pytest.fixture
def notices(session: Session) -> list[Notice]:
    heard: list[Notice] = []
    session.notified.connect(heard.append)
    return heard


@pytest.fixture
def registering(session: Session, loop: Loop) -> Registering:
    made = Registering(session, lambda: BeaconPattern(wrong=0.1, verified_wrong=0.4))
    made.register(SOURCE, TARGET)
    loop.run_until(lambda: made.planes is not None)
    return made


def test_the_result_tells_decision_evidence_and_matches(registering: Registering) -> None:
    decision, shown = registering.decision, registering.matches()
    assert decision is not None
    assert decision.accepted
    assert registering.layers == ("in vivo", "ex vivo")
    assert shown is not None
    assert len(shown) == registering.count(registering.threshold)[0]
    off = np.linalg.norm(shown.source_um + SHIFT - shown.target_um, axis=1)
    np.testing.assert_allclose(shown.off_um, off, atol=1.0)
    assert not shown.agreeing[off > 30].any()
    assert dict(registering.facts())["turn, scale"].startswith(("0.0°", "-0.0°"))


def test_a_removed_match_is_gone_and_undo_brings_it_back(
    registering: Registering, loop: Loop, notices: list[Notice]
) -> None:
    before, shown = registering.planes, registering.matches()
    assert shown is not None
    worst = int(shown.rows[shown.off_um.argmax()])
    registering.select(worst)
    registering.remove()
    loop.run_until(lambda: registering.planes is not before)
    after = registering.matches()
    assert after is not None
    assert worst not in after.rows
    assert set(after.rows) == set(shown.rows) - {worst}
    np.testing.assert_array_equal(after.target_um, shown.target_um[shown.rows != worst])
    assert registering.selected is None
    assert registering.n_removed == 1

    registering.undo()
    loop.run_until(lambda: registering.planes is before)
    registering.undo()
    assert notices[-1].text == "No match was removed."


def test_the_threshold_counts_at_once_and_fits_in_the_background(
    registering: Registering, loop: Loop
) -> None:
    n_all = registering.count(0.0)[1]
    assert registering.count(0.05) == (n_all, n_all)
    assert registering.count(0.95) == (0, n_all)
    before = registering.planes
    registering.set_threshold(0.95)
    loop.run_until(lambda: registering.planes is not before)
    assert registering.decision is not None
    assert not registering.decision.accepted
    assert registering.affine is None
    assert registering.matches() is not None
    assert len(registering.matches()) == 0


def test_the_source_is_drawn_on_the_target(registering: Registering, loop: Loop) -> None:
    drawn: list[np.ndarray] = []
    registering.warped.connect(drawn.append)
    registering.warp()
    loop.run_until(lambda: bool(drawn))
    target = TARGET.image.data
    inside = np.zeros(target.shape, bool)
    inside[30:, 40:] = True
    assert np.corrcoef(drawn[0][inside], target[inside])[0, 1] > 0.95


def test_nothing_is_written_or_drawn_before_there_is_something(
    session: Session, notices: list[Notice], tmp_path: Path
) -> None:
    empty = Registering(session, BeaconPattern)
    empty.warp()
    assert notices[-1].text == "Nothing was registered yet."
    empty.write_page(tmp_path / "page.html", print)
    assert notices[-1].is_error
    empty.remove()
    assert (empty.decision, empty.matches(), empty.facts(), empty.count(0.5)) == (
        None,
        None,
        (),
        (0, 0),
    )


@pytest.mark.slow
def test_the_page_is_written(registering: Registering, loop: Loop, tmp_path: Path) -> None:
    written: list[Path] = []
    registering.write_page(tmp_path / "page.html", written.append)
    loop.run_until(lambda: bool(written))
    assert "in vivo" in written[0].read_text(encoding="utf-8")


def test_a_cancelled_run_leaves_the_result_before(
    registering: Registering, session: Session, loop: Loop, notices: list[Notice]
) -> None:
    before = registering.planes
    registering.register(TARGET, SOURCE)
    assert registering.running
    session.jobs.cancel(REGISTER_JOB)
    loop.run_until(lambda: not registering.running)
    assert registering.planes is before
    loop.run_until(lambda: notices and notices[-1].text.endswith("cancelled"))
    assert REGISTER_JOB not in session.jobs.running()


def test_unrelated_images_are_refused_with_a_reason(session: Session, loop: Loop) -> None:
    made = Registering(session, lambda: BeaconPattern(wrong=1.0, verified_wrong=1.0, margin=1.0))
    made.register(SOURCE, TARGET)
    loop.run_until(lambda: made.planes is not None)
    assert made.decision is not None
    assert not made.decision.accepted
    assert made.decision.reason.endswith(".")


def test_what_cannot_be_registered_is_said(
    session: Session, loop: Loop, notices: list[Notice]
) -> None:
    made = Registering(session, BeaconPattern)
    made.register(SOURCE, SOURCE)
    loop.run_until(lambda: bool(notices))
    assert notices[-1].is_error
    assert "same image" in notices[-1].text
