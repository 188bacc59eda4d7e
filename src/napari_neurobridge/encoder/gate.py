"""The gate that weights the two channels against each other (paper 1, section 2.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """Weigh the local and the global vector for each crop.

    A crop with a sharp soma and no context should lean on the local channel, a blurred
    one in a rich field on the global channel; the two weights sum to one.

    Parameters
    ----------
    dim : int
        Length of each channel's vector.
    hidden : int, default: 64
        Width of the hidden layer.
    """

    def __init__(self, dim: int, hidden: int = 64) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2 * dim, hidden), nn.GELU(), nn.Linear(hidden, 2))

    def weights(self, local: Tensor, context: Tensor) -> Tensor:
        """Return the weights (B, 2) of local and global channel; each row sums to one."""
        logits: Tensor = self.mlp(torch.cat((local, context), dim=-1))
        return torch.softmax(logits.float(), dim=-1)

    def forward(self, local: Tensor, context: Tensor) -> Tensor:
        """Mix two batches of vectors (B, dim) into one (B, dim)."""
        weights = self.weights(local, context)
        return weights[:, :1] * local + weights[:, 1:] * context
