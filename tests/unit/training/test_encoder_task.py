import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_neurobridge.encoder.dual_channel import EncoderConfig
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.encoder.global_channel import GlobalConfig
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.io.pairs import as_bytes
from napari_neurobridge.training.augmentation import AugmentConfig
from napari_neurobridge.training.encoder_task import (
    EncoderObjective,
    EncoderTaskConfig,
    compact_task,
    new_encoder,
    paper_task,
    train_encoder,
)
from napari_neurobridge.training.evaluation import evaluate_pairs
from napari_neurobridge.training.loop import LoopConfig

PIXELS = 32


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def toy_pairs(n, seed=0):
    """The same blobs twice: as rings and as filled discs, as the two microscopes show them."""
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
    return (np.clip(side, 0, 1).astype(np.float32) for side in sides)


def toy_config(**changes):
    settings = {
        "encoder": EncoderConfig(
            name="toy",
            crop_pixels=PIXELS,
            dim=64,
            local_channel=LocalConfig(window=16, widths=(16,), strides=(2,), blocks=(1,)),
            global_channel=GlobalConfig(
                stem_widths=(16,),
                stem_strides=(2,),
                stem_blocks=(1,),
                vit_options={"patch_size": 4, "embed_dim": 32, "depth": 1, "num_heads": 2},
            ),
        ),
        "loop": LoopConfig(steps=40, learning_rate=3e-3, warmup_steps=5, report_every=20),
        "augment": AugmentConfig(rotation_deg=0, shift_px=0, scale=0, dropout_probability=0),
        "neurons": 16,
        "contrastive_neurons": 16,
    }
    return EncoderTaskConfig(**(settings | changes))


@pytest.mark.parametrize("contrastive_steps", [0, 20])
def test_sixteen_pairs_are_learnt_in_a_few_dozen_steps(contrastive_steps):
    two_photon, fmost = toy_pairs(16)
    config = toy_config(contrastive_steps=contrastive_steps)
    model = new_encoder(config)
    scene = np.zeros(16, np.int64)
    reports = list(train_encoder(model, as_bytes(two_photon), as_bytes(fmost), scene, config))
    assert reports[-1].step == 40
    encoder = Encoder(model, "")
    evaluation = evaluate_pairs(encoder.embed(two_photon), encoder.embed(fmost), scene)
    assert evaluation.topk["1"] == 1.0


def test_training_is_repeatable_and_resumes_to_the_same_bits(tmp_path):
    two_photon, fmost = (as_bytes(side) for side in toy_pairs(20))
    scene = np.repeat([0, 1], 10)
    loop = LoopConfig(steps=6, checkpoint_every=2, report_every=3)
    config = toy_config(loop=loop, contrastive_steps=3, neurons=8)
    whole = new_encoder(config)
    list(train_encoder(whole, two_photon, fmost, scene, config))
    checkpoint = tmp_path / "checkpoint.safetensors"
    next(
        train_encoder(new_encoder(config), two_photon, fmost, scene, config, checkpoint=checkpoint)
    )
    resumed = new_encoder(config)
    list(train_encoder(resumed, two_photon, fmost, scene, config, checkpoint=checkpoint))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_seed_decides_the_initial_weights():
    first, again = new_encoder(toy_config()), new_encoder(toy_config())
    other = new_encoder(toy_config(loop=LoopConfig(seed=1)))
    weights = [model.gate.mlp[0].weight for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_paper_settings_are_those_of_the_supplement():
    task = paper_task()
    assert (task.loop.optimizer, task.loop.learning_rate) == ("adam", 1e-4)
    assert (task.gamma, task.margin, task.neurons) == (256.0, 0.25, 50)
    assert task.contrastive_steps == 0
    assert task.encoder.dim == 768


def test_compact_settings_end_with_the_papers_objective():
    task = compact_task(steps=100, seed=3)
    assert 0 < task.contrastive_steps < 100
    assert (task.loop.steps, task.loop.seed) == (100, 3)
    held_out = {*task.validation_seeds, *task.test_seeds}
    assert max(held_out) < min(source.first_seed for source in task.sources)


def test_pairs_in_poses_are_learnt_with_a_memory_a_mask_and_dropout(tmp_path):
    """All that the next release trains with, at once; resumed to the same bits."""
    two_photon, fmost = (as_bytes(side) for side in toy_pairs(20))
    sides = (
        np.stack((two_photon, two_photon[..., ::-1]), axis=1),
        np.stack((fmost, fmost), axis=1),
    )
    config = toy_config(
        loop=LoopConfig(steps=6, checkpoint_every=2, report_every=3, weight_average=0.9),
        contrastive_steps=3,
        neurons=8,
        memory=16,
        cross_modal=True,
    )
    config = config.model_copy(
        update={"encoder": config.encoder.model_copy(update={"mask": True, "dropout": 0.2})}
    )
    scene = np.repeat([0, 1], 10)
    whole = new_encoder(config)
    list(train_encoder(whole, *sides, scene, config))
    checkpoint = tmp_path / "checkpoint.safetensors"
    next(train_encoder(new_encoder(config), *sides, scene, config, checkpoint=checkpoint))
    resumed = new_encoder(config)
    list(train_encoder(resumed, *sides, scene, config, checkpoint=checkpoint))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_each_step_takes_one_pose_of_each_pair():
    blank = np.zeros((16, PIXELS, PIXELS), np.uint8)
    marked = np.stack([np.full_like(blank, 50 * view + 1) for view in range(3)], axis=1)
    objective = EncoderObjective(
        new_encoder(toy_config()), marked, marked, np.zeros(16, np.int64), toy_config()
    )
    taken = set()
    for step in range(6):
        first, second = objective._crops(np.arange(16), step)
        assert torch.equal(first, second)
        taken |= set((first[:, 0, 0, 0] * 255).round().int().tolist())
    assert taken == {1, 51, 101}
