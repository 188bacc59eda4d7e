"""Which cell is asked next."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.projects import true_partner
from napari_neurobridge.active.queue import (
    AUDIT_EVERY,
    CLEAR,
    QueueItem,
    QueueStrategy,
    _reason,
    clearest_first,
    is_share_of,
    waiting_questions,
    with_audits,
)
from napari_neurobridge.matching.match_datasets import match_datasets
from napari_neurobridge.matching.wording import percent
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import SomaSource
from napari_neurobridge.workflows.match import strategy_now


def _queue(project: Project) -> list[str]:
    return [item.uid for item in clearest_first(project.state(), "two_photon")]


def test_decided_cells_leave_the_queue_from_either_side(project: Project) -> None:
    first, second, third, fourth = _queue(project)[:4]
    annotate.accept(project, first, true_partner(first), annotator="me")
    annotate.accept(project, true_partner(second), second, annotator="me")
    annotate.none(project, third, annotator="me")
    annotate.unsure(project, fourth, true_partner(fourth), annotator="me")
    assert not {first, second, third, fourth} & set(_queue(project))
    annotate.undo(project, annotator="me")
    assert fourth in _queue(project)


def test_a_rejected_candidate_sends_the_cell_to_the_end(project: Project) -> None:
    first = _queue(project)[0]
    annotate.reject(project, first, true_partner(first), annotator="me")
    queue = clearest_first(project.state(), "two_photon")
    assert queue[-1].uid == first
    assert "rejected" in queue[-1].reason


def test_clear_cells_come_before_dim_ones(project: Project) -> None:
    known = set(_queue(project))
    annotate.record_detection(
        project,
        "two_photon",
        [(5.0, 5.0, 5.0), (70.0, 190.0, 210.0)],
        radius_um=[7.0, 7.0],
        confidence=[0.6, 0.9],
        method="dog",
        params={},
        annotator="me",
    )
    found = [uid for uid in _queue(project) if uid not in known]
    confidences = [project.state().soma(uid).confidence for uid in found]
    assert confidences == [0.9, 0.6]
    assert all(project.state().soma(uid).source is SomaSource.DETECTED for uid in found)


def _items(count: int) -> list[QueueItem]:
    return [QueueItem(f"tp-{number:05d}", "why") for number in range(count)]


@given(count=st.integers(0, 40), n_asked=st.integers(0, 30))
def test_every_fifth_question_is_drawn_by_lot_and_each_cell_asked_once(count, n_asked) -> None:
    items = _items(count)
    placed = with_audits(items, n_asked)
    assert sorted(item.uid for item in placed) == [item.uid for item in items]
    for place, item in enumerate(placed):
        assert item.audit == ((n_asked + place) % AUDIT_EVERY == AUDIT_EVERY - 1)
    ordered = [item for item in placed if not item.audit]
    assert [item.uid for item in ordered] == sorted(item.uid for item in ordered)


def test_the_lot_does_not_depend_on_the_order_of_the_queue() -> None:
    items = _items(60)
    first = next(item.uid for item in with_audits(items, 4) if item.audit)
    assert first == next(item.uid for item in with_audits(items[::-1], 4) if item.audit)


def test_lots_fall_on_certain_and_uncertain_cells_alike() -> None:
    places = []
    for name in range(60):
        items = [QueueItem(f"{name}-{number}", "why") for number in range(50)]
        drawn = next(item.uid for item in with_audits(items, 4) if item.audit)
        places.append(int(drawn.split("-")[1]))
    assert 18 < np.mean(places) < 31
    assert len(set(places)) > 25


def test_the_least_certain_cell_is_asked_first(points_world, tmp_path) -> None:
    project = points_world.project(tmp_path / "p.neurobridge", 8)
    match = match_datasets(project)
    items = waiting_questions(project.state(), "two_photon", "fmost", match)
    bits = [item.uncertainty for item in items]
    assert bits == sorted(bits, reverse=True)
    rows = [match.queries.rows[item.uid] for item in items]
    assert bits == pytest.approx(match.posterior_summary("two_photon").bits[rows].tolist())
    assert not {item.uid for item in items} & set(project.state().pairs)
    assert all(item.reason.startswith("asked ") for item in items[:10])
    clearest = waiting_questions(
        project.state(), "two_photon", "fmost", match, QueueStrategy.CLEAREST
    )
    assert {item.uid for item in clearest} == {item.uid for item in items}
    assert clearest[0].uncertainty is None


def test_while_pairs_are_few_cells_far_from_them_are_asked(points_world, tmp_path) -> None:
    project = points_world.project(tmp_path / "p.neurobridge", 2)
    state = project.state()
    items = waiting_questions(state, "two_photon", "fmost")
    pairs = [state.soma(uid).center_um for uid in project.state().pairs]
    clear = items[: (len(items) + 1) // 2]
    distances = [
        min(np.linalg.norm(np.subtract(state.soma(item.uid).center_um, pair)) for pair in pairs)
        for item in clear
    ]
    assert distances == sorted(distances, reverse=True)
    assert "far from the accepted pairs" in items[0].reason
    assert len({item.uid for item in items}) == 118
    empty = points_world.project(tmp_path / "q.neurobridge")
    assert waiting_questions(empty.state(), "two_photon", "fmost") == clearest_first(
        empty.state(), "two_photon"
    )


def test_a_pair_whose_soma_is_gone_counts_nowhere(points_world, tmp_path) -> None:
    project = points_world.project(tmp_path / "p.neurobridge", 4)
    assert strategy_now(project) is QueueStrategy.ENTROPY
    annotate.delete_soma(project, sorted(project.state().pairs.values())[0])
    assert len(project.state().pairs) == 4
    assert strategy_now(project) is QueueStrategy.SPREAD
    state = project.state()
    asked = waiting_questions(state, "two_photon", "fmost")
    assert asked == waiting_questions(state, "two_photon", "fmost", None, strategy_now(project))
    assert "far from the accepted pairs" in asked[0].reason


def test_cells_whose_partner_is_expected_outside_come_last(points_world, tmp_path) -> None:
    project = points_world.project(tmp_path / "p.neurobridge", 3)
    # Far from the accepted pairs, but the other side does not show that place.
    annotate.add_somata(
        project, "two_photon", [(100.0, 160.0, 900.0)], source=SomaSource.MANUAL, annotator="me"
    )
    far = next(s.uid for s in project.state().somata["two_photon"].values() if s.source == "manual")
    state = project.state()
    unmatched = waiting_questions(state, "two_photon", "fmost")
    assert not any("outside" in item.reason for item in unmatched), "nobody knows"
    items = waiting_questions(state, "two_photon", "fmost", match_datasets(project))
    assert "far from the accepted pairs" in items[0].reason
    outside = [item.uid for item in items if "outside" in item.reason]
    assert far in outside
    assert [item.uid for item in items[-len(outside) :]] == outside
    assert {item.uid for item in items} == {item.uid for item in unmatched}


shares = st.floats(0.0, 1.0)


@given(first=shares, second=shares, none=shares, beyond=shares)
def test_a_reason_agrees_with_its_number(first, second, none, beyond) -> None:
    total = max(first + second + none + beyond, 1e-9)
    first, second = sorted((first / total, second / total), reverse=True)
    reason = _reason(first, second, none / total, beyond / total)
    assert "100 %" not in reason
    if "not certain" in reason:
        (number,) = re.findall(r"\((\d+) %\)", reason)
        assert 50 <= int(number) <= 95
    if "may have" in reason:
        (number,) = re.findall(r"probability (\d+) %", reason)
        assert 50 <= int(number) <= 95
    if "confirm" in reason:
        surest = none / total if "no partner" in reason else first
        assert percent(surest) in reason
        assert surest >= CLEAR


@given(
    names=st.sets(st.text("abcdefg", min_size=1, max_size=3), min_size=1, max_size=4),
    number=st.integers(0, 10**6),
)
def test_a_cell_is_the_share_of_one_person(names: set[str], number: int) -> None:
    shares = [is_share_of(f"tp-{number}", name, names - {name}) for name in sorted(names)]
    assert sum(shares) == 1
