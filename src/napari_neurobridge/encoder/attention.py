"""Channel and spatial attention after Woo et al., "CBAM" (ECCV 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Reweight channels by what their average and maximum say (CBAM, equation 2).

    Parameters
    ----------
    channels : int
        Number of channels.
    reduction : int, default: 4
        How much narrower the hidden layer of the shared MLP is.
    """

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = max(4, channels // reduction)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to reweighted features of the same shape."""
        average = self.mlp(features.mean(dim=(2, 3)))
        maximum = self.mlp(features.amax(dim=(2, 3)))
        weights = torch.sigmoid(average + maximum).to(features.dtype)
        return features * weights[:, :, None, None]


class SpatialAttention(nn.Module):
    """Reweight places by the average and maximum over channels (CBAM, equation 3).

    Parameters
    ----------
    kernel_size : int, default: 7
        Width of the convolution that turns the two maps into one weight per place.
    """

    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to reweighted features of the same shape."""
        maps = torch.cat(
            (features.mean(dim=1, keepdim=True), features.amax(dim=1, keepdim=True)), dim=1
        )
        return features * torch.sigmoid(self.conv(maps)).to(features.dtype)
