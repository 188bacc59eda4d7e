import pytest
import torch
from torch import nn

from napari_neurobridge.errors import InputError
from napari_neurobridge.training.loop import LoopConfig, learning_rate, train

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
