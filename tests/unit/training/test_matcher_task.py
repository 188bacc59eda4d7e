from pathlib import Path

import pytest
import torch

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.constellation.model import (
    Constellation,
    ConstellationConfig,
    load_constellation,
)
from napari_neurobridge.models.zoo import find_model
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.training.loop import LoopConfig
from napari_neurobridge.training.matcher_task import (
    Batch,
    MatcherTask,
    held_out,
    judge,
    main,
    make_batch,
    make_model_folder,
    train_matcher,
)

MODEL = ConstellationConfig(
    neighbours=5, hidden=8, frequencies=4, code=4, dim=16, heads=2, layers=2
)
TASK = MatcherTask(
    model=MODEL,
    loop=LoopConfig(steps=3, warmup_steps=1, checkpoint_every=1, report_every=1),
    batch=2,
    queries=(16, 32),
    validation_fields=2,
    test_fields=2,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def test_the_same_key_gives_the_same_batch():
    first, same, other = (make_batch(TASK, Key.of(n), 0.5) for n in (1, 1, 2))
    for one, two in zip(first.positions + first.codes, same.positions + same.codes, strict=True):
        assert torch.equal(one, two)
    assert torch.equal(first.partner, same.partner)
    assert not torch.equal(first.partner, other.partner[:, : first.partner.shape[1]])


def test_positions_are_centred_and_neighbours_about_one_apart():
    batch = make_batch(TASK.model_copy(update={"queries": (160, 160)}), Key.of(3), 0.2)
    for side in batch.positions:
        assert side.mean(dim=1).abs().max() < 1e-3
        away = torch.cdist(side, side) + 9 * torch.eye(side.shape[1])
        assert 0.3 < away.min(dim=2).values.median() < 1.1


def test_partners_share_their_codes_where_there_are_any():
    batch = make_batch(TASK.model_copy(update={"embedded": 1.0}), Key.of(4), 0.2)
    field = int((batch.partner >= 0).nonzero()[0, 0])
    rows = (batch.partner[field] >= 0).nonzero()[:, 0]
    same = (batch.codes[0][field][rows] * batch.codes[1][field][batch.partner[field][rows]]).mean()
    assert same > 0.1
    none = make_batch(TASK.model_copy(update={"embedded": 0.0}), Key.of(4), 0.2)
    assert not none.codes[0].any()


def test_fields_become_harder_until_all_is_asked():
    loop = LoopConfig(steps=1000)
    task = MatcherTask(loop=loop, first_share=0.1, full_at=0.5)
    shares = [task.share(step) for step in (0, 250, 500, 999)]
    assert shares == pytest.approx([0.1, 0.55, 1.0, 1.0])


def test_held_out_fields_are_no_training_fields():
    kinds = [held_out(TASK, kind, 2)[0].positions[0] for kind in (1, 2, 3)]
    training = make_batch(TASK, Key.of(TASK.loop.seed, 1, 0), 1.0).positions[0]
    assert torch.equal(kinds[0], training)
    assert all(
        side.shape != training.shape or not torch.equal(side, training) for side in kinds[1:]
    )


def test_a_judge_counts_what_is_right():
    torch.manual_seed(0)
    model = Constellation(MODEL)
    batch = make_batch(TASK, Key.of(5), 0.0)
    with torch.no_grad():
        scores = model.eval()(batch.positions).log_assignment[-1]
    said = scores[:, :-1, :-1].argmax(dim=2)
    assert judge(model, [Batch(batch.positions, batch.codes, said)]).top1 == 1.0
    wrong = (said + 1) % (scores.shape[2] - 1)
    assert judge(model, [Batch(batch.positions, batch.codes, wrong)]).top1 == 0.0


def test_a_run_that_was_killed_ends_as_if_it_was_not(tmp_path: Path):
    whole = train_matcher(TASK)

    class Killed(Exception):
        pass

    def kill(done: int, *_: object) -> None:
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        train_matcher(TASK, checkpoint=tmp_path / "c", report=kill)
    resumed = train_matcher(TASK, checkpoint=tmp_path / "c")
    for one, two in zip(whole.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(one, two)
    other = TASK.model_copy(update={"batch": 3})
    with pytest.raises(InputError, match="other training settings"):
        train_matcher(other, checkpoint=tmp_path / "c")


def test_a_model_folder_has_all_that_it_needs(tmp_path: Path):
    out = tmp_path / "model"
    figures = make_model_folder(out, TASK, tmp_path / "cache", command="make it so")
    assert {path.name for path in out.iterdir()} == {
        "config.toml",
        "weights.safetensors",
        "card.md",
        "SHA256SUMS",
    }
    card = (out / "card.md").read_text()
    assert "make it so" in card
    assert "BSD-3-Clause" in card
    assert f"{figures.top8:.3f}" in card
    assert load_constellation(find_model(out)).config == MODEL


def test_the_command_line_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path)])
    assert "--cache" in capsys.readouterr().err


def test_the_shipped_matcher_finds_partners_in_fields_it_was_not_trained_on():
    model = load_constellation(find_model("constellation"))
    task = MatcherTask(model=model.config)
    easy = judge(model, held_out(task, 4, 6, share=0.3))
    assert easy.precision > 0.9
    assert easy.top8 > 0.95
    assert (find_model("constellation") / "weights.safetensors").stat().st_size < 5e6
