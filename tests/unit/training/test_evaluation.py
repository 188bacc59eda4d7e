import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.training.evaluation import (
    evaluate_encoder,
    evaluate_pairs,
    evaluate_similarity,
    gated_ranks,
    partner_ranks,
    top_k,
    top_k_curve,
)


def random_unit(n, dim, seed):
    vectors = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def scenes(n, per_scene):
    return np.repeat(np.arange(n // per_scene), per_scene)


def test_a_perfect_embedding_is_perfect_in_every_figure():
    vectors = random_unit(200, 64, seed=0)
    report = evaluate_pairs(vectors, vectors, scenes(200, 50))
    for topk in (report.topk, report.topk_53, report.topk_scene):
        assert topk == {"1": 1.0, "5": 1.0, "10": 1.0}
    assert report.recall == report.specificity == report.auc == 1.0
    assert report.confusion.true_positive == 100
    assert report.confusion.true_negative == 400
    assert (report.n, report.n_scenes) == (200, 4)


def test_a_random_embedding_is_at_chance():
    n = 1060
    report = evaluate_pairs(random_unit(n, 32, 1), random_unit(n, 32, 2), scenes(n, 53))
    for k in (1, 5, 10):
        assert report.topk[str(k)] == pytest.approx(k / n, abs=0.01)
        assert report.topk_53[str(k)] == pytest.approx(k / 53, abs=0.02)
        assert report.topk_scene[str(k)] == pytest.approx(k / 53, abs=0.03)
    # Half of the negatives are chosen for their similarity, so chance is below one half.
    assert report.auc < 0.4


def test_random_galleries_agree_with_drawing_them():
    rng = np.random.default_rng(3)
    a = random_unit(120, 16, 4)
    b = a + rng.normal(scale=0.35, size=a.shape)
    similarity = a @ b.T
    hits = []
    for query in range(120):
        others = np.delete(np.arange(120), query)
        for _ in range(100):
            gallery = rng.choice(others, size=52, replace=False)
            hits.append(1 + int((similarity[query, gallery] > similarity[query, query]).sum()))
    report = evaluate_pairs(a, b, scenes(120, 40))
    assert report.topk_53["1"] == pytest.approx(np.mean(np.array(hits) <= 1), abs=0.02)
    assert report.topk_53["5"] == pytest.approx(np.mean(np.array(hits) <= 5), abs=0.02)


def test_the_hardest_negatives_are_always_among_them():
    # Of 380 wrong combinations of either scene six look like partners; 80 are taken.
    n = 40
    similarity = np.eye(n)
    for first in (0, 20):
        for i in range(6):
            similarity[first + i, first + 19 - i] = 2.0
    report = evaluate_pairs(similarity, np.eye(n), np.repeat([0, 1], 20))
    assert report.confusion.true_positive + report.confusion.false_negative == 20
    assert report.confusion.true_negative == 74
    assert report.confusion.false_positive == 6
    assert report.specificity == pytest.approx(74 / 80)
    assert report.auc == pytest.approx(74 / 80)


def test_hard_negatives_come_from_groups_of_the_papers_size():
    # One look-alike per scene of 53: the hardest of all combinations would be the same
    # few for every scene, the hardest of each scene are its own.
    n = 530
    similarity = np.eye(n) + np.random.default_rng(0).uniform(0, 0.5, (n, n))
    similarity[:53, 53:106] = 5.0
    report = evaluate_pairs(similarity, np.eye(n), scenes(n, 53))
    assert report.confusion.true_negative + report.confusion.false_positive == 5 * 212
    assert report.specificity == 1.0


def test_threshold_comes_from_other_scenes_than_the_figures():
    # Two scenes with shifted similarities: a threshold from either fails on the other.
    n = 40
    scene = np.repeat([0, 1], n // 2)
    level = np.where(scene == 0, 1.0, 0.2)
    similarity = np.diag(level) + (level[:, None] - 0.1) * (1 - np.eye(n))
    report = evaluate_pairs(similarity, np.eye(n), scene)
    assert report.auc == 1.0
    assert min(report.recall, report.specificity) == 0.0


def test_few_pairs_have_no_classification_figures():
    vectors = random_unit(3, 8, 0)
    report = evaluate_pairs(vectors, vectors, np.zeros(3, int))
    assert report.topk["1"] == 1.0
    assert report.recall is None
    assert report.confusion is None
    assert '"auc":null' in report.model_dump_json()


def test_one_scene_is_split_by_pairs():
    vectors = random_unit(12, 8, 0)
    report = evaluate_pairs(vectors, vectors, np.zeros(12, int))
    assert report.recall == 1.0
    assert report.confusion.true_positive == 6


def test_ties_count_against_the_partner():
    assert partner_ranks(np.ones((4, 4))).tolist() == [4, 4, 4, 4]
    assert top_k(np.array([1, 2, 6, 11])) == {"1": 0.25, "5": 0.5, "10": 0.75}


@pytest.mark.parametrize(("n", "m", "k"), [(0, 0, 0), (3, 2, 3), (3, 3, 2)])
def test_unequal_or_empty_input_is_one_sentence(n, m, k):
    with pytest.raises(InputError, match="needs at least one pair"):
        evaluate_pairs(np.ones((n, 2)), np.ones((m, 2)), np.zeros(k, int))


def test_a_reference_chooses_the_hard_negatives_and_the_model_its_own_beside_them():
    rng = np.random.default_rng(0)
    n = 106
    similarity = rng.uniform(0, 0.4, (n, n)) + np.eye(n)
    # 60 combinations of each scene look like partners to the model, none to the reference.
    for first in (0, 53):
        rows, columns = rng.integers(0, 53, (2, 60))
        similarity[first + rows, first + columns] = 2.0
    reference = rng.uniform(0, 1, (n, n))
    report = evaluate_similarity(similarity, scenes(n, 53), reference=reference)
    assert report.hard_by == "reference"
    assert report.specificity > report.own_hard.specificity + 0.1
    alone = evaluate_similarity(similarity, scenes(n, 53))
    assert alone.hard_by == "model"
    assert alone.own_hard == report.own_hard
    assert (alone.recall, alone.specificity) == (alone.own_hard.recall, alone.own_hard.specificity)


def test_figures_lie_in_their_intervals():
    n = 212
    similarity = np.random.default_rng(0).normal(size=(n, n)) + 2.5 * np.eye(n)
    report = evaluate_similarity(similarity, scenes(n, 53), reference=similarity.T)
    for name in ("recall", "specificity", "auc"):
        low, high = report.intervals[name]
        assert 0 <= low <= getattr(report, name) <= high <= 1
        assert 0.01 < high - low < 0.3


def test_the_curve_goes_on_where_top_k_of_the_own_scene_begins():
    n = 106
    similarity = np.random.default_rng(0).normal(size=(n, n)) + 1.5 * np.eye(n)
    report = evaluate_similarity(similarity, scenes(n, 53))
    curve = report.curve
    assert len(curve) == 53
    assert [curve[k - 1] for k in (1, 5, 10)] == pytest.approx(list(report.topk_scene.values()))
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == pytest.approx(1.0)
    assert curve[int(report.median_rank) - 1] >= 0.5


def test_the_curve_of_a_large_scene_is_over_galleries_of_53():
    ranks, sizes = np.array([1, 105]), np.array([105, 105])
    curve = top_k_curve(ranks, sizes)
    # The best is first in any gallery; the worst is last in any.
    assert curve[0] == pytest.approx(0.5)
    assert curve[51] == pytest.approx(0.5)
    assert curve[52] == pytest.approx(1.0)
    # The middle one is beaten by 26 of 52 others on average.
    middle = top_k_curve(np.array([53]), np.array([105]))
    assert 0.4 < middle[26] < 0.7


def test_only_cells_near_the_partner_are_candidates_within_the_gate():
    # The look-alike of cell 0 is 100 µm away, that of cell 1 in another scene.
    similarity = np.eye(4)
    similarity[0, 2] = similarity[1, 3] = 2.0
    center_um = np.array([[0, 0, 0], [0, 0, 30], [0, 0, 100], [0, 0, 30]], float)
    scene = np.array([0, 0, 0, 1])
    ranks, sizes = gated_ranks(similarity, scene, center_um)
    assert ranks.tolist() == [1, 1, 1, 1]
    assert sizes.tolist() == [2, 2, 1, 1]
    near = center_um.copy()
    near[2] = (40, 0, 0)
    assert gated_ranks(similarity, scene, near)[0].tolist() == [2, 1, 1, 1]
    report = evaluate_similarity(similarity, scene, center_um=near)
    assert report.top1_gated == 0.75
    assert report.gate_candidates == pytest.approx((3 + 2 + 2 + 1) / 4)
    assert evaluate_similarity(similarity, scene).top1_gated is None


@pytest.mark.parametrize("wrong", [{"reference": np.ones((3, 3))}, {"center_um": np.ones((4, 2))}])
def test_arrays_of_another_number_of_pairs_are_one_sentence(wrong):
    with pytest.raises(InputError, match="evaluation of 4 pairs needs"):
        evaluate_similarity(np.eye(4), np.zeros(4, int), **wrong)


def test_an_encoder_is_evaluated_with_the_neutral_negatives_and_the_places_of_the_cells():
    class Pixel:
        def embed(self, crops, *, report=None):
            angle = crops[:, 0, 0] * np.pi / 2
            return np.stack((np.cos(angle), np.sin(angle)), axis=1)

    crops = np.random.default_rng(0).random((2, 8, 20, 20), dtype=np.float32)
    crops[:, :, 0, 0] = np.linspace(0, 1, 8)
    pairs = PairSet(crops[0], crops[1], np.zeros(8, int), np.arange(24.0).reshape(8, 3))
    report = evaluate_encoder(Pixel(), pairs)
    assert report.hard_by == "reference"
    assert report.topk["1"] == report.top1_gated == 1.0
