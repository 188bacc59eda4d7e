import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from napari_neurobridge.errors import InputError
from napari_neurobridge.training.loop import LoopConfig, learning_rate, train
from napari_neurobridge.training.losses import Memory

CONFIG = LoopConfig(
    steps=12, learning_rate=1e-2, warmup_steps=3, checkpoint_every=4, report_every=5
)


class Net(nn.Sequential):
    """Dropout and batch norm: both have state that a resumed run must find again."""

    def __init__(self):
        super().__init__(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1)
        )


def make():
    torch.manual_seed(0)
    model = Net()

    def loss(step, generator):
        x = torch.randn(16, 4, generator=generator)
        return (model(x)[:, 0] - x.sum(dim=1)).square().mean()

    return model, loss


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def weights(model):
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, optimizer):
    config = CONFIG.model_copy(update={"optimizer": optimizer})
    whole, loss = make()
    reports = list(train(whole, loss, config))
    assert [r.step for r in reports] == [5, 10, 12]

    checkpoint = tmp_path / "checkpoint.safetensors"
    killed, loss = make()
    # The report at step 5 comes after the checkpoint at step 4: one step is lost.
    next(train(killed, loss, config, checkpoint=checkpoint))
    torch.manual_seed(123)
    resumed, loss = make()
    assert [r.step for r in train(resumed, loss, config, checkpoint=checkpoint)] == [5, 10, 12]
    assert torch.equal(weights(resumed), weights(whole))


def test_a_complete_checkpoint_gives_its_weights_back(tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    model, loss = make()
    list(train(model, loss, CONFIG, checkpoint=checkpoint))
    again, loss = make()
    assert list(train(again, loss, CONFIG, checkpoint=checkpoint)) == []
    assert torch.equal(weights(again), weights(model))


def test_training_leaves_the_global_random_state_alone():
    model, loss = make()
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    list(train(model, loss, CONFIG))
    assert torch.equal(torch.rand(1), expected)


def test_loss_falls():
    model, loss = make()
    config = CONFIG.model_copy(update={"steps": 300, "report_every": 100})
    reports = list(train(model, loss, config))
    assert reports[-1].loss < reports[0].loss


def test_schedule_rises_then_follows_a_cosine():
    config = LoopConfig(steps=100, learning_rate=1.0, warmup_steps=10)
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9]
    assert rates[50] == pytest.approx(0.5)
    assert rates[-1] < 0.001
    constant = LoopConfig(steps=9, learning_rate=1e-4, schedule="constant", warmup_steps=0)
    assert {learning_rate(step, constant) for step in range(9)} == {1e-4}


def test_damaged_or_foreign_checkpoints_are_refused(tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    model, loss = make()
    next(train(model, loss, CONFIG, checkpoint=checkpoint))
    other = CONFIG.model_copy(update={"learning_rate": 2e-2})
    with pytest.raises(InputError, match="other training settings"):
        next(train(model, loss, other, checkpoint=checkpoint))
    with pytest.raises(InputError, match="another architecture"):
        next(train(nn.Linear(4, 1), loss, CONFIG, checkpoint=checkpoint))
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.raises(InputError, match="damaged"):
        next(train(model, loss, CONFIG, checkpoint=checkpoint))


def test_the_result_is_the_running_mean_of_the_weights_where_that_is_wanted():
    plain, loss = make()
    seen = [plain.state_dict()["0.weight"].clone()]
    step_by_step = CONFIG.model_copy(update={"report_every": 1})
    for _ in train(plain, loss, step_by_step):
        seen.append(plain.state_dict()["0.weight"].clone())
    mean = seen[0]
    for done, weight in enumerate(seen[1:]):
        keep = min(0.9, (1 + done) / (10 + done))
        mean = keep * mean + (1 - keep) * weight
    averaged, loss = make()
    config = CONFIG.model_copy(update={"weight_average": 0.9})
    list(train(averaged, loss, config))
    torch.testing.assert_close(averaged.state_dict()["0.weight"], mean)
    assert not torch.allclose(mean, seen[-1])
    assert averaged[1].num_batches_tracked == 12


def test_a_report_shows_the_mean_and_training_goes_on_from_the_last_weights():
    config = CONFIG.model_copy(update={"weight_average": 0.9})
    often = config.model_copy(update={"report_every": 1})
    first, loss = make()
    list(train(first, loss, config))
    second, loss = make()
    list(train(second, loss, often))
    assert torch.equal(weights(first), weights(second))


def test_a_resumed_run_finds_its_mean_and_its_memory_again(tmp_path):
    config = CONFIG.model_copy(update={"weight_average": 0.9})

    def make_with_memory():
        model, loss = make()
        memory = Memory(6, 4)

        def remembering(step, generator):
            past = memory.recall()[0].sum()
            memory.add(*torch.full((2, 4, 4), step / 10), torch.arange(4) + 4 * step)
            return loss(step, generator) * (1 + past)

        return model, remembering, memory

    whole, loss, memory = make_with_memory()
    list(train(whole, loss, config, memory=memory))
    checkpoint = tmp_path / "checkpoint.safetensors"
    killed, loss, memory = make_with_memory()
    next(train(killed, loss, config, checkpoint=checkpoint, memory=memory))
    for _ in range(2):  # goes on, then finds all done
        resumed, loss, memory = make_with_memory()
        list(train(resumed, loss, config, checkpoint=checkpoint, memory=memory))
        assert torch.equal(weights(resumed), weights(whole))


def test_a_checkpoint_of_an_earlier_version_has_the_defaults_of_what_it_did_not_know(tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    model, loss = make()
    list(train(model, loss, CONFIG, checkpoint=checkpoint))
    with safe_open(checkpoint, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    known = json.loads(metadata["config"])
    del known["weight_average"]
    save_file(tensors, checkpoint, metadata=metadata | {"config": json.dumps(known)})
    again, loss = make()
    assert list(train(again, loss, CONFIG, checkpoint=checkpoint)) == []
    assert torch.equal(weights(again), weights(model))
