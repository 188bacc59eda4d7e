"""Objectives on batches of embedded pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pytorch_metric_learning import losses, miners
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class CircleObjective(nn.Module):
    """Circle loss on the pairs that a multi-similarity miner keeps (paper 1, section 2.3).

    The printed equation 2 weighs all pairs alike; the library's loss is that of Sun et
    al. (CVPR 2020), which weighs each pair by its distance from the optimum, and which
    the supplement says was used.

    Parameters
    ----------
    gamma : float, default: 256
        Scale of the similarities (supplement 1.1).
    margin : float, default: 0.25
        Relaxation m (supplement 1.1).
    epsilon : float, default: 0.1
        Margin of the miner: a negative is kept when it is less than this far below the
        hardest positive of its anchor, a positive likewise.
    mine : bool, default: True
        Without, all pairs count (the paper's "standard sampling" ablation).
    """

    def __init__(
        self,
        *,
        gamma: float = 256.0,
        margin: float = 0.25,
        epsilon: float = 0.1,
        mine: bool = True,
    ) -> None:
        super().__init__()
        self.loss = losses.CircleLoss(m=margin, gamma=gamma)
        self.miner = miners.MultiSimilarityMiner(epsilon=epsilon) if mine else None

    def forward(
        self, two_photon: Tensor, fmost: Tensor, neurons: npt.NDArray[np.int64] | None = None
    ) -> Tensor:
        """Return the loss of unit vectors (B, D) and (B, D).

        Row i of both is one neuron, unless ``neurons``, (2, B), says which each row shows.
        """
        embeddings, labels = _labelled(two_photon, fmost, neurons)
        kept = self.miner(embeddings, labels) if self.miner is not None else None
        loss: Tensor = self.loss(embeddings, labels, kept)
        return loss


class TripletObjective(nn.Module):
    """Triplet loss on what the same miner keeps: the ablation of circle loss in paper 1.

    Parameters
    ----------
    margin : float, default: 0.2
        By how much, in distance of unit vectors, a negative is to be farther than a
        positive (FaceNet's value; the paper gives none).
    epsilon : float, default: 0.1
        Margin of the miner; see :class:`CircleObjective`.
    """

    def __init__(self, *, margin: float = 0.2, epsilon: float = 0.1) -> None:
        super().__init__()
        self.loss = losses.TripletMarginLoss(margin=margin)
        self.miner = miners.MultiSimilarityMiner(epsilon=epsilon)

    def forward(
        self, two_photon: Tensor, fmost: Tensor, neurons: npt.NDArray[np.int64] | None = None
    ) -> Tensor:
        """Return the loss of unit vectors (B, D) and (B, D); see `CircleObjective.forward`."""
        embeddings, labels = _labelled(two_photon, fmost, neurons)
        loss: Tensor = self.loss(embeddings, labels, self.miner(embeddings, labels))
        return loss


def info_nce(two_photon: Tensor, fmost: Tensor, *, temperature: float = 0.07) -> Tensor:
    """Ask each crop for its partner among the batch, in both directions.

    Used to start a network from scratch, where circle loss with hard mining has nothing
    to go by yet (CLIP's objective; van den Oord et al. 2018).

    Parameters
    ----------
    two_photon, fmost : Tensor, shape (B, D)
        Unit vectors; row i of both is one neuron.
    temperature : float, default: 0.07
        Divides the cosine similarities.
    """
    logits = two_photon @ fmost.T / temperature
    partners = torch.arange(len(logits), device=logits.device)
    forward = functional.cross_entropy(logits, partners)
    backward = functional.cross_entropy(logits.T, partners)
    return (forward + backward) / 2


def _labelled(
    two_photon: Tensor, fmost: Tensor, neurons: npt.NDArray[np.int64] | None
) -> tuple[Tensor, Tensor]:
    """Stack both sides (2B, D), with the number of its neuron for each row (2B,)."""
    if neurons is None:
        labels = torch.arange(len(two_photon), device=two_photon.device).repeat(2)
    else:
        labels = torch.from_numpy(neurons.reshape(-1)).to(two_photon.device)
    return torch.cat((two_photon, fmost)), labels
