"""The one evaluation that report, dock, files and the card of a trained model draw from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.insight import figures
from napari_neurobridge.insight import report as report_module
from napari_neurobridge.insight.evaluation import (
    Evaluation,
    Progress,
    check_enough,
    evaluate,
    evaluate_in_steps,
    representative_pairs,
)
from napari_neurobridge.insight.evaluation_figures import (
    EvaluationFigure,
    draw_evaluation,
    save_evaluation_figures,
)
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.training.evaluation import evaluate_encoder, partner_ranks
from napari_neurobridge.training.plain_measures import PlainMeasure, plain_similarity


class Pixels:
    """Stands in for an encoder: a crop's own pixels, of unit length."""

    name = "pixels"

    def embed(self, crops: np.ndarray, **_: object) -> np.ndarray:
        flat = crops.reshape(len(crops), -1)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def pair_set(n: int, scenes: int = 1) -> PairSet:
    rng = np.random.default_rng(0)
    crops = rng.random((n, 24, 24), dtype=np.float32)
    noisy = np.clip(crops + rng.normal(0, 0.4, crops.shape), 0, 1).astype(np.float32)
    places = rng.uniform(0, 100, (n, 3))
    return PairSet(crops, noisy, np.arange(n) % scenes, places)


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return evaluate(pair_set(70, scenes=2), Pixels())


def test_the_report_is_that_of_all_pairs(found):
    assert found.report == evaluate_encoder(Pixels(), found.pairs)
    assert found.report.n == len(found) == 70
    assert found.report.top1_gated is not None
    assert found.report.topk_scene["1"] == np.mean(found.ranks == 1)
    assert found.report.median_rank == np.median(found.ranks)
    assert found.candidates.tolist() == [35] * 70


def test_all_that_is_compared_is_of_the_same_cells(found):
    assert len(found.shown) == 53
    assert set(found.shown) <= set(found.mapped)
    block = found.similarity[np.ix_(found.shown, found.shown)]
    np.testing.assert_allclose(found.compared["pixels"], block, rtol=1e-5)
    curve = found.curves()["pixels"]
    expected = [(partner_ranks(block) <= k).mean() for k in range(1, 54)]
    np.testing.assert_allclose(curve, expected)


def test_measures_are_compared_on_the_shown_cells():
    pairs = pair_set(5)
    compared = evaluate(pairs, Pixels(), measures=[PlainMeasure.PEARSON]).compared
    assert list(compared) == ["pixels", "pearson"]
    np.testing.assert_allclose(
        compared["pearson"],
        plain_similarity(PlainMeasure.PEARSON, pairs.two_photon, pairs.fmost),
        atol=1e-5,
    )


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    few=st.integers(1, 40),
    more=st.integers(0, 40),
)
def test_the_largest_scenes_come_first_and_fewer_are_some_of_more(counts, few, more):
    scene = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    chosen = representative_pairs(scene, few)
    assert len(chosen) == min(few, len(scene))
    assert (np.diff(chosen) > 0).all()
    assert set(chosen) <= set(representative_pairs(scene, few + more))
    taken = np.bincount(scene[chosen], minlength=len(counts))
    for number, count in enumerate(counts):
        if 0 < taken[number] < count:
            others = [size for name, size in enumerate(counts) if not taken[name]]
            assert all(size <= count for size in others)
    assert ((taken > 0) & (taken < counts)).sum() <= 1


def test_report_dock_and_files_draw_the_same_cells(found, tmp_path, monkeypatch):
    matrices, maps = [], []

    def heat_maps(compared, **_):
        matrices.append(compared["pixels"])
        return Figure()

    def map_of(one, other, **_):
        maps.append(one)
        return Figure()

    monkeypatch.setattr(figures, "similarity_heatmaps", heat_maps)
    monkeypatch.setattr(figures, "embedding_figure", map_of)
    save_evaluation_figures(found, tmp_path)
    findings = report_module._Findings(SimpleNamespace(names=None), Pixels(), found)
    report_module._similarities(findings)
    report_module._map(findings)
    for kind in (EvaluationFigure.HEAT_MAPS, EvaluationFigure.MAP):
        draw_evaluation(kind, found, theme=figures.DARK)
    assert len(matrices) == len(maps) == 3
    assert all(matrix is found.compared["pixels"] for matrix in matrices)
    assert all(one is found.map[0] for one in maps)


def test_figures_are_written_for_what_there_is(tmp_path: Path):
    few = evaluate(pair_set(3), Pixels())
    names = {path.stem for path in save_evaluation_figures(few, tmp_path / "new")}
    assert names == {kind.value for kind in EvaluationFigure} - {"confusion"}
    assert draw_evaluation(EvaluationFigure.CONFUSION, few) is None


def test_steps_count_up_and_the_evaluation_comes_last():
    *steps, last = evaluate_in_steps(pair_set(20), Pixels())
    assert isinstance(last, Evaluation)
    assert all(isinstance(step, Progress) for step in steps)
    assert [step.done for step in steps] == [16, 20, 36, 40]


def test_an_evaluation_can_be_cancelled():
    def stop(done: int, total: int, message: str) -> None:
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        evaluate(pair_set(4), Pixels(), report=stop)


def test_one_pair_has_a_rank_but_no_figures():
    found = evaluate(pair_set(1), Pixels())
    assert found.report.n == 1
    assert found.report.topk["1"] == 1.0
    with pytest.raises(InputError, match="at least 2 accepted pairs, not 1"):
        check_enough(len(found))


def test_no_pair_is_refused():
    with pytest.raises(InputError, match="no pair"):
        evaluate(pair_set(0), Pixels())


def test_the_best_matches_are_the_most_similar_of_the_scene_and_hold_the_partner(found):
    """An oracle that sorts by hand; the partner's place is the rank that the figures count."""
    for row in range(0, 70, 7):
        scene = np.flatnonzero(found.pairs.scene == found.pairs.scene[row])
        by_hand = sorted(scene, key=lambda column: -found.similarity[row, column])
        best = found.best_matches(row, 5).tolist()
        if found.ranks[row] <= 5:
            assert best == by_hand[:5]
            assert best.index(row) == found.ranks[row] - 1
        else:
            assert best == [*by_hand[:5], row]


def test_ties_count_against_the_partner_in_the_grid_too():
    class Blind(Pixels):
        def embed(self, crops, report=None):
            return np.ones((len(crops), 1), np.float32)

    found = evaluate(pair_set(6), Blind())
    assert found.best_matches(2, 5).tolist() == [0, 1, 3, 4, 5, 2]
    assert found.ranks[2] == 6


def words_of(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_the_grid_shows_rank_similarity_and_name_and_frames_the_partner(found):
    names = [(f"tp-{row}", f"fm-{row}") for row in range(len(found))]
    figure = draw_evaluation(EvaluationFigure.BEST_MATCHES, found, names=names)
    words = words_of(figure)
    for row in found.exampled.tolist():
        assert f"tp-{row}" in words
        place = found.ranks[row]
        assert f"{place} · {found.similarity[row, row]:.2f} ✓" in words
    assert words.count("✓") == len(found.exampled)


def test_a_hidden_pair_is_not_in_the_grid(found):
    names = [(f"tp-{row}", f"fm-{row}") for row in range(len(found))]
    secret = int(found.exampled[0])
    figure = draw_evaluation(EvaluationFigure.BEST_MATCHES, found, names=names, hidden=secret)
    assert f"tp-{secret} " not in words_of(figure) + " "
    few = evaluate(pair_set(1), Pixels())
    assert draw_evaluation(EvaluationFigure.BEST_MATCHES, few, hidden=0) is None


def test_figures_are_written_as_pdf_too(found, tmp_path):
    paths = save_evaluation_figures(found, tmp_path, suffix=".pdf")
    assert {path.suffix for path in paths} == {".pdf"}
    assert (tmp_path / "best-matches.pdf").read_bytes().startswith(b"%PDF")
