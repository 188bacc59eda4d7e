from pathlib import Path

import numpy as np
import pytest
import torch

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.current import bundled_verifier
from napari_neurobridge.models.zoo import find_model
from napari_neurobridge.registration.gccm import GccmConfig, load_gccm
from napari_neurobridge.registration.inlier_ratio import estimate_inliers
from napari_neurobridge.registration.subsets import SubsetConfig
from napari_neurobridge.registration.verification import GccmVerifier
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.training.gccm_task import (
    GccmTask,
    draw_sets,
    judge_gccm,
    main,
    make_gccm_folder,
    task_of,
    train_gccm,
)
from napari_neurobridge.training.loop import LoopConfig

TASK = GccmTask(
    model=GccmConfig(hidden=8, subsets=SubsetConfig(count=100, per_match=4)),
    loop=LoopConfig(steps=4, checkpoint_every=2, report_every=1, warmup_steps=0),
    batch=2,
    matches=(16, 24),
    subsets_per_match=3,
    response_sets=2,
    test_sets=2,
)


@pytest.mark.slow
def test_a_run_that_was_killed_ends_as_if_it_was_not(tmp_path: Path) -> None:
    whole = train_gccm(TASK)

    class Killed(Exception):
        pass

    def kill(done: int, *_: object) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        train_gccm(TASK, checkpoint=tmp_path / "c", report=kill)
    resumed = train_gccm(TASK, checkpoint=tmp_path / "c")
    for one, two in zip(whole.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(one, two)
    assert whole.config == resumed.config
    other = TASK.model_copy(update={"batch": 3})
    with pytest.raises(InputError, match="other training settings"):
        train_gccm(other, checkpoint=tmp_path / "c")


@pytest.mark.slow
def test_training_tells_right_from_wrong_better_than_chance() -> None:
    loop = TASK.loop.model_copy(update={"steps": 60, "learning_rate": 1e-2})
    task = TASK.model_copy(
        update={"loop": loop, "matches": (60, 60), "response_sets": 4, "test_sets": 6}
    )
    assert judge_gccm(train_gccm(task), task, 0.7).auc > 0.65


def test_sets_of_a_stated_ratio_have_it() -> None:
    task = TASK.model_copy(update={"matches": (100, 200)})
    for ratio in (0.2, 0.7):
        drawn = draw_sets(task, Key.of(1), 4, inlier_ratio=ratio)
        assert np.mean([each.right.mean() for each in drawn]) == pytest.approx(ratio, abs=0.08)
        assert all(100 <= len(each.right) <= 200 for each in drawn)


@pytest.mark.slow
def test_a_model_folder_has_all_that_it_needs(tmp_path: Path) -> None:
    out = tmp_path / "model"
    rows = make_gccm_folder(out, TASK, tmp_path / "cache", command="make it so")
    assert {path.name for path in out.iterdir()} == {
        "config.toml",
        "weights.safetensors",
        "card.md",
        "SHA256SUMS",
    }
    card = (out / "card.md").read_text(encoding="utf-8")
    assert "make it so" in card
    assert f"{rows[0].auc:.3f}" in card
    stored = load_gccm(find_model(out))
    ratios = [row.inlier_ratio for row in stored.config.responses]
    assert len(ratios) == 9
    assert ratios == sorted(ratios)


def test_the_command_line_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path)])
    assert "--cache" in capsys.readouterr().err
    assert task_of(3).model.position_dim == 3
    assert task_of(2, 50, 7).loop.steps == 50


def test_the_shipped_module_separates_matches_and_knows_how_many_are_right() -> None:
    model = load_gccm(bundled_verifier(2))
    task = GccmTask(model=model.config)
    figures = judge_gccm(model, task.model_copy(update={"test_sets": 6}), 0.6)
    assert figures.auc > 0.85
    assert figures.off < 0.15
    assert (bundled_verifier(2) / "weights.safetensors").stat().st_size < 0.5e6


def test_the_shipped_module_estimates_a_known_ratio() -> None:
    model = load_gccm(bundled_verifier(2))
    estimates = []
    for ratio in (0.3, 0.8):
        drawn = draw_sets(GccmTask(model=model.config), Key.of(77), 5, inlier_ratio=ratio)
        scores = [GccmVerifier(model).score(each.source_um, each.target_um) for each in drawn]
        found = [estimate_inliers(score, model.config.responses) for score in scores]
        estimates.append(np.mean([each.inlier_ratio for each in found]))
        assert estimates[-1] == pytest.approx(ratio, abs=0.15)
    assert estimates[0] < estimates[1]
