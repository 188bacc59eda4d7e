import dataclasses
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.encoder.global_channel import GlobalConfig
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.encoder.strategies import Ablation, Strategy
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.training.augmentation import AugmentConfig
from napari_neurobridge.training.fine_tune import FineTuneConfig, fine_tune
from napari_neurobridge.training.validation import validation_score

PIXELS = 32
GENTLE = AugmentConfig(
    rotation_deg=0, shift_px=0, scale=0, gamma=0, brightness=0, noise=0, dropout_probability=0
)
CONFIG = FineTuneConfig(
    steps=12,
    learning_rate=3e-3,
    neurons=12,
    validate_every=4,
    patience=4,
    augment=GENTLE,
    copies=2,
    confidence=0.0,
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def toy_pairs(n, seed, scenes=2):
    """The same blobs twice, as rings and as discs."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:PIXELS, :PIXELS]
    sides = np.zeros((2, n, PIXELS, PIXELS))
    for i in range(n):
        for r, c in rng.uniform(4, PIXELS - 4, (6, 2)):
            distance = np.hypot(rows - r, columns - c)
            sides[0, i] = np.maximum(sides[0, i], np.exp(-((distance - 2.5) ** 2)))
            sides[1, i] = np.maximum(sides[1, i], distance < 3)
    sides[1] = ndimage.gaussian_filter(sides[1], (0, 1, 1))
    sides += rng.uniform(0, 0.2, sides.shape)
    first, second = np.clip(sides, 0, 1).astype(np.float32)
    return PairSet(first, second, np.arange(n) % scenes)


def make(channels="both", views=1):
    torch.manual_seed(0)
    config = EncoderConfig(
        name="toy",
        crop_pixels=PIXELS,
        dim=32,
        views=views,
        channels=channels,
        local_channel=LocalConfig(window=16, widths=(8,), strides=(2,), blocks=(1,)),
        global_channel=GlobalConfig(
            stem_widths=(8,),
            stem_strides=(2,),
            stem_blocks=(1,),
            vit_options={"patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2},
        ),
    )
    return DualChannelEncoder(config).eval()


TRAIN, VALIDATION = toy_pairs(24, 0), toy_pairs(14, 1, scenes=1)


def weights(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def same(first, second):
    return all(torch.equal(value, second[key]) for key, value in first.items())


def tune(model, **changes):
    return list(fine_tune(model, TRAIN, VALIDATION, CONFIG.model_copy(update=changes)))


def score(model):
    encoder = Encoder(model, "")
    first, second = encoder.embed(VALIDATION.two_photon), encoder.embed(VALIDATION.fmost)
    return validation_score(first @ second.T, VALIDATION.scene)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_the_model_holds_the_best_weights_and_is_an_ordinary_one(strategy):
    if strategy.lora_rank:
        pytest.importorskip("peft")
    model = make()
    before = weights(model)
    reports = tune(model, strategy=strategy)
    last = reports[-1]
    assert last.stage == "done"
    assert list(weights(model)) == list(before)
    assert all(value.requires_grad for value in model.parameters())
    assert not model.training
    assert score(model) == pytest.approx(last.best_score, abs=1e-6)
    assert last.best_score >= reports[0].score
    assert same(weights(model), before) == (last.best_step == 0)
    if strategy is Strategy.FROZEN:
        assert last.best_step == 0


def test_training_helps_on_pairs_that_were_not_trained_on():
    model = make()
    reports = tune(model, steps=60, validate_every=10, patience=9)
    assert reports[-1].best_score > reports[0].score + 0.05
    assert reports[-1].best_step > 0
    steps = [r.step for r in reports if r.score is not None]
    assert steps == [0, 10, 20, 30, 40, 50, 60]


def test_a_rate_that_ruins_the_weights_leaves_the_model_as_it_was():
    model = make()
    tune(model, steps=60, validate_every=10, patience=9)
    before = weights(model)
    reports = tune(model, learning_rate=10.0, steps=40, patience=2)
    assert reports[-1].best_step == 0
    assert reports[-1].mix == 0
    assert same(weights(model), before)
    # It stopped after two validations without a gain.
    assert max(r.step for r in reports if r.stage == "training") == 8


def test_a_gain_that_may_be_chance_does_not_change_the_model():
    model = make()
    before = weights(model)
    assert tune(model)[-1].best_step > 0
    model.load_state_dict(before)
    assert tune(model, confidence=1000.0)[-1].best_step == 0
    assert same(weights(model), before)


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    first, again, other = make(), make(), make()
    tune(first)
    tune(again)
    tune(other, seed=1)
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(other))


def test_statistics_of_batch_normalisation_stay():
    model = make()
    before = weights(model)
    assert tune(model, mixes=(1.0,))[-1].best_step > 0
    after = weights(model)
    statistics = [key for key in before if "running_" in key or "num_batches" in key]
    assert statistics
    assert all(torch.equal(before[key], after[key]) for key in statistics)
    assert not torch.equal(
        after["local_channel.stages.0.0.weight"], before["local_channel.stages.0.0.weight"]
    )


def test_mixed_weights_lie_between_the_old_and_the_new_ones():
    whole, half = make(), make()
    start = weights(whole)
    settings = {"steps": 4, "validate_every": 4}
    assert tune(whole, **settings, mixes=(1.0,))[-1].mix == 1.0
    assert tune(half, **settings, mixes=(0.5,))[-1].mix == 0.5
    for key, value in weights(whole).items():
        middle = (start[key].double() + value.double()) / 2
        assert torch.allclose(weights(half)[key].double(), middle, atol=1e-6)


def test_stopping_half_way_leaves_the_best_so_far():
    model = make()
    before = weights(model)
    run = fine_tune(model, TRAIN, VALIDATION, CONFIG.model_copy(update={"steps": 400}))
    assert same(weights(model), before)
    for report in run:
        if report.step == 9:
            break
    run.close()
    assert report.best_step > 0
    assert score(model) == pytest.approx(report.best_score, abs=1e-6)
    assert all(value.requires_grad for value in model.parameters())


@pytest.mark.parametrize("strategy", [Strategy.LINEAR, Strategy.PARTIAL])
def test_a_frozen_trunk_is_run_once(strategy, monkeypatch):
    calls = []
    forward = DualChannelEncoder.embed_view
    monkeypatch.setattr(
        DualChannelEncoder,
        "embed_view",
        lambda self, crops: calls.append(len(crops)) or forward(self, crops),
    )
    reports = tune(make(), strategy=strategy)
    features = [r for r in reports if r.stage == "features"]
    assert (features[-1].step, features[-1].steps) == (2, 2)
    n_validations = sum(r.score is not None for r in reports)
    # Copies of the training pairs, and both sides of the validation pairs now and then: the
    # start once, later ones for each mix.
    assert sum(calls) == 2 * 2 * len(TRAIN) + 2 * len(VALIDATION) * (1 + 2 * (n_validations - 1))


@pytest.mark.parametrize("channels", ["both", "local", "global"])
@pytest.mark.parametrize("strategy", [Strategy.LINEAR, Strategy.PARTIAL])
def test_cached_features_give_the_vectors_of_the_whole_network(strategy, channels):
    from napari_neurobridge.encoder.strategies import adaptable_copy
    from napari_neurobridge.training.tuning_batches import CachedBatches, LiveBatches, can_cache

    model = make(channels)
    working = adaptable_copy(model, strategy).eval()
    assert can_cache(working, strategy)
    cached = CachedBatches(working, strategy, TRAIN, GENTLE, copies=1, seed=0)
    assert list(cached.fill())[-1] == (1, 1)
    chosen = np.array([5, 0, 17])
    found = cached.embed(chosen, torch.Generator().manual_seed(0))
    # The copy was made with the generator of its number, all pairs at once.
    live = LiveBatches(working, TRAIN, GENTLE)
    expected = live.embed(np.arange(len(TRAIN)), torch.Generator().manual_seed(0))
    for got, want in zip(found, expected, strict=True):
        assert torch.allclose(got, want[chosen], atol=1e-2)
    gradients = torch.autograd.grad(
        found[0].sum(), [p for p in working.parameters() if p.requires_grad], allow_unused=True
    )
    assert any(g is not None and g.abs().sum() > 0 for g in gradients)


@pytest.mark.parametrize(
    ("ablation", "channels"),
    [
        (Ablation.NONE, "both"),
        (Ablation.NO_MINER, "both"),
        (Ablation.TRIPLET, "both"),
        (Ablation.LOCAL_ONLY, "local"),
        (Ablation.GLOBAL_ONLY, "global"),
    ],
)
def test_ablations_train_and_leave_one_channel_alone_where_they_say_so(ablation, channels):
    model = make()
    settings = {"strategy": Strategy.FULL, "ablation": ablation, "mixes": (1.0,), "steps": 4}
    reports = tune(model, **settings)
    assert model.config.channels == channels
    plain = make(channels)
    tuned = tune(plain, strategy=Strategy.FULL, mixes=(1.0,), steps=4)
    losses = [[r.loss for r in run if r.loss is not None] for run in (reports, tuned)]
    alike = ablation in (Ablation.NONE, Ablation.LOCAL_ONLY, Ablation.GLOBAL_ONLY)
    assert (losses[0] == losses[1]) == alike


def test_fewer_pairs_than_a_batch_make_a_smaller_batch():
    few = TRAIN.take(np.arange(3))
    reports = list(fine_tune(make(), few, VALIDATION, CONFIG))
    assert reports[-1].stage == "done"


@pytest.mark.parametrize("views", [1, 4])
def test_a_run_that_is_resumed_ends_with_the_same_bits(tmp_path, views):
    whole = make(views=views)
    config = CONFIG.model_copy(update={"patience": 2, "steps": 20})
    expected = list(fine_tune(whole, TRAIN, VALIDATION, config))
    checkpoint = tmp_path / "checkpoint.safetensors"
    for stop_at in (4, 6, 9):
        run = fine_tune(make(views=views), TRAIN, VALIDATION, config, checkpoint=checkpoint)
        next(report for report in run if report.step == stop_at)
        run.close()
    resumed = make(views=views)
    reports = list(fine_tune(resumed, TRAIN, VALIDATION, config, checkpoint=checkpoint))
    assert same(weights(resumed), weights(whole))

    def told(report):
        return dataclasses.replace(report, seconds=0.0)

    assert told(reports[-1]) == told(expected[-1])
    # And once more, from the checkpoint of the last steps.
    again = make(views=views)
    list(fine_tune(again, TRAIN, VALIDATION, config, checkpoint=checkpoint))
    assert same(weights(again), weights(whole))


@pytest.mark.slow
def test_a_killed_run_is_resumed_with_the_same_bits(tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    script = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import torch
        torch.set_num_threads(1)
        from pathlib import Path
        import test_fine_tune as t
        for report in t.fine_tune(t.make(), t.TRAIN, t.VALIDATION, t.CONFIG,
                                  checkpoint=Path({str(checkpoint)!r})):
            if report.step == 6:
                print("now", flush=True)
                import time
                time.sleep(600)
        """
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline().strip() == b"now"
        child.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        child.wait()
    assert checkpoint.exists()
    resumed, whole = make(), make()
    list(fine_tune(resumed, TRAIN, VALIDATION, CONFIG, checkpoint=checkpoint))
    tune(whole)
    assert same(weights(resumed), weights(whole))


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    list(fine_tune(make(), TRAIN, VALIDATION, CONFIG, checkpoint=checkpoint))
    other = CONFIG.model_copy(update={"gamma": 64.0})
    for pairs, config in ((TRAIN, other), (toy_pairs(24, 5), CONFIG)):
        model = make()
        before = weights(model)
        with pytest.raises(InputError, match="other training settings or pairs"):
            list(fine_tune(model, pairs, VALIDATION, config, checkpoint=checkpoint))
        assert same(weights(model), before)


def test_a_damaged_checkpoint_is_refused_and_nothing_is_lost(tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    list(fine_tune(make(), TRAIN, VALIDATION, CONFIG, checkpoint=checkpoint))
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    model = make()
    before = weights(model)
    with pytest.raises(InputError, match="is damaged; delete it"):
        list(fine_tune(model, TRAIN, VALIDATION, CONFIG, checkpoint=checkpoint))
    assert same(weights(model), before)
    assert checkpoint.exists()


def test_unfit_pairs_are_refused():
    broken = toy_pairs(5, 2)
    broken.fmost[1] = np.nan
    for pairs, words in (
        (TRAIN.take(np.array([0])), "at least 2 pairs"),
        (broken, "not finite"),
        (TRAIN.take(np.array([0, 1, 0])), "the same pair"),
    ):
        with pytest.raises(InputError, match=words):
            next(fine_tune(make(), pairs, VALIDATION, CONFIG))
    with pytest.raises(InputError, match="one part only"):
        next(fine_tune(make(), TRAIN, TRAIN.take(np.arange(4)), CONFIG))


def test_another_crop_size_is_refused():
    large = PairSet(*(np.zeros((4, 40, 40), np.float32) for _ in range(2)), np.zeros(4, int))
    with pytest.raises(InputError, match="32 x 32"):
        next(fine_tune(make(), large, VALIDATION, CONFIG))
