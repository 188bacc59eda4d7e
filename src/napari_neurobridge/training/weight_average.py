"""A running mean of a network's weights, which is often better than the last ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


class WeightAverage:
    """The exponential mean of weights over steps (Polyak averaging; Izmailov et al. 2018).

    Early on it decays faster, by (1 + n) / (10 + n) after n steps, so that the weights that
    training began with are soon forgotten. Statistics of batch normalisation are averaged too;
    counters are those of the last step.

    Parameters
    ----------
    model : nn.Module
        Whose weights to average, from these on.
    decay : float
        What remains of the mean after a step, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = torch.zeros((), dtype=torch.int64)
        self.mean = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the weights of one more step in."""
        done = int(self.steps)
        keep = min(self.decay, (1 + done) / (10 + done))
        self.steps += 1
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                self.mean[name].lerp_(tensor, 1 - keep)
            else:
                self.mean[name].copy_(tensor)

    def give_to(self, model: nn.Module) -> None:
        """Put the mean into a network in place of its own weights."""
        model.load_state_dict(self.mean)

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps."""
        return {"steps": self.steps, **{f"mean.{k}": v for k, v in self.mean.items()}}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self.steps.copy_(state["steps"])
        for name, tensor in self.mean.items():
            tensor.copy_(state[f"mean.{name}"])
