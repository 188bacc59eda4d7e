import numpy as np
import pytest
import torch

from napari_neurobridge.benchmarks.verification import (
    GCCM_FIXED,
    NONE,
    RANSAC,
    RECALLS,
    WRONG,
    VerificationParameters,
    benchmark_verification,
    deformations,
    draw_held_out,
    precision_at,
)
from napari_neurobridge.registration.gccm import Gccm, GccmConfig, InlierResponse
from napari_neurobridge.registration.subsets import SubsetConfig
from napari_neurobridge.simulation.keyed import Key

RESPONSES = tuple(InlierResponse(inlier_ratio=r, mean=r, tau=r, width=0.1) for r in (0.2, 0.8))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", ["waves", "short waves", "bands"])
def test_held_out_tissue_is_deformed_and_has_the_stated_mistakes(dims: int, name: str) -> None:
    drawn = draw_held_out(deformations(dims)[name], dims, 200, 0.3, Key.of(1))
    assert drawn.source_um.shape == (200, dims)
    assert drawn.right.mean() == pytest.approx(0.7, abs=0.06)
    # No affine map gives the truth.
    known = np.column_stack([drawn.source_um, np.ones(200)])
    rest = drawn.true_um - known @ np.linalg.lstsq(known, drawn.true_um)[0]
    assert np.sqrt((rest**2).sum(axis=1).mean()) > 2.0


def test_precision_is_the_highest_at_the_recall_or_more() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    right = np.array([True, False, True, True, False])
    assert precision_at(scores, right, 0.3) == 1.0
    assert precision_at(scores, right, 0.5) == pytest.approx(3 / 4)
    assert precision_at(scores, right, 1.0) == pytest.approx(3 / 4)
    assert precision_at(np.zeros(5), right, 0.1) == pytest.approx(3 / 5)


@pytest.mark.slow
def test_all_methods_score_the_same_matches() -> None:
    torch.manual_seed(0)
    subsets = SubsetConfig(count=40, per_match=2)
    model = Gccm(GccmConfig(hidden=4, subsets=subsets, responses=RESPONSES)).eval()
    said: list[str] = []
    found = benchmark_verification(
        model,
        VerificationParameters(matches=30, sets=1),
        report=lambda done, total, message: said.append(f"{done}/{total} {message}"),
    )
    methods = {row.method for row in found.rows}
    assert {GCCM_FIXED, RANSAC, NONE} <= methods
    assert len(found.rows) == len(methods) * 3 * (len(WRONG) + 1)
    assert len(said) == 3 * len(WRONG)
    none = [row for row in found.rows if row.method == NONE]
    # Without any verification, precision is the share of right matches.
    for row in none:
        assert len(set(row.precision.values())) == 1
        if row.wrong is not None:
            assert row.precision["0.5"] == pytest.approx(1 - row.wrong, abs=0.15)
    assert all(set(row.precision) == {f"{r:g}" for r in RECALLS} for row in found.rows)
    assert "subsets scored in" in found.summary()
