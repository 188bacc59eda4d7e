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


class Memory(nn.Module):
    """Vectors of past batches of both sides, as further wrong partners (MoCo, He et al. 2020).

    They were made by older weights, and count as negatives only. A ring whose state is in its
    buffers, so that a checkpoint keeps it.

    Parameters
    ----------
    size : int
        How many pairs are remembered; 0 for none.
    dim : int
        Length of the vectors.
    """

    two_photon: Tensor
    fmost: Tensor
    neurons: Tensor
    place: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("two_photon", torch.zeros(size, dim))
        self.register_buffer("fmost", torch.zeros(size, dim))
        self.register_buffer("neurons", torch.full((size,), -1, dtype=torch.int64))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def recall(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is remembered: both sides (M, dim), and the neuron of each row (M,)."""
        known = self.neurons >= 0
        return self.two_photon[known], self.fmost[known], self.neurons[known]

    @torch.no_grad()
    def add(self, two_photon: Tensor, fmost: Tensor, neurons: Tensor) -> None:
        """Remember a batch (B, dim) of neurons (B,) in place of the oldest."""
        count = min(len(neurons), self.size)
        if not count:
            return
        rows = (self.place + torch.arange(count, device=self.place.device)) % self.size
        self.two_photon[rows] = two_photon[:count].detach().to(self.two_photon.dtype)
        self.fmost[rows] = fmost[:count].detach().to(self.fmost.dtype)
        self.neurons[rows] = neurons[:count]
        self.place.copy_((self.place + count) % self.size)


class CrossModalCircle(nn.Module):
    """Circle loss whose anchors are compared with the other side only, as in use.

    In the library's (`CircleObjective`) the crops of one side are each other's negatives too,
    though no query is ever ranked among its own side.

    Parameters
    ----------
    gamma, margin, epsilon
        As for :class:`CircleObjective`.
    """

    def __init__(self, *, gamma: float = 256.0, margin: float = 0.25, epsilon: float = 0.1) -> None:
        super().__init__()
        self.gamma, self.margin, self.epsilon = gamma, margin, epsilon

    def forward(
        self,
        two_photon: Tensor,
        fmost: Tensor,
        neurons: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Return the loss of unit vectors (B, D) and (B, D), the mean over anchors that have one.

        Row i of both is one neuron. ``memory`` adds negatives, but for those of the same of
        ``neurons`` (B,).
        """
        losses = []
        for own, other, past in _directions(two_photon, fmost, memory):
            similarity = own @ torch.cat((other, past)).T
            losses.append(self._anchors(similarity, _wrong(similarity, neurons, memory)))
        anchors = torch.cat(losses)
        return anchors.sum() / (anchors > 0).sum().clamp_min(1)

    def _anchors(self, similarity: Tensor, wrong: Tensor) -> Tensor:
        """Return the loss of each row of similarities (B, B + M), whose partner is diagonal."""
        partner = similarity.diagonal()
        barred = similarity.masked_fill(~wrong, -torch.inf)
        # The miner: a negative counts if it comes near the partner, and the partner if one does.
        hard = wrong & (similarity + self.epsilon > partner[:, None])
        counts = (partner - self.epsilon < barred.amax(dim=1)) & hard.any(dim=1)
        pull = (1 + self.margin - partner.detach()).clamp_min(0) * (partner - 1 + self.margin)
        push = (similarity.detach() + self.margin).clamp_min(0) * (similarity - self.margin)
        push = (self.gamma * push).masked_fill(~hard, -torch.inf)[counts]
        return functional.softplus(push.logsumexp(dim=1) - self.gamma * pull[counts])


def _directions(
    two_photon: Tensor, fmost: Tensor, memory: Memory | None
) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Return for either direction the anchors, their partners, and the other side's memory."""
    past = (two_photon[:0], fmost[:0]) if memory is None else memory.recall()[:2]
    past_two_photon, past_fmost = (side.to(two_photon) for side in past)
    return (two_photon, fmost, past_fmost), (fmost, two_photon, past_two_photon)


def _wrong(similarity: Tensor, neurons: Tensor | None, memory: Memory | None) -> Tensor:
    """Say which columns of similarities (B, B + M) show another neuron than the row."""
    count = len(similarity)
    own = torch.arange(count, device=similarity.device) if neurons is None else neurons
    wrong = own[:, None] != own[None, :]
    if memory is None:
        return wrong
    return torch.cat((wrong, own[:, None] != memory.recall()[2][None, :]), dim=1)


def info_nce(
    two_photon: Tensor,
    fmost: Tensor,
    *,
    temperature: float = 0.07,
    neurons: Tensor | None = None,
    memory: Memory | None = None,
) -> Tensor:
    """Ask each crop for its partner among the batch, in both directions.

    Used to start a network from scratch, where circle loss with hard mining has nothing
    to go by yet (CLIP's objective; van den Oord et al. 2018).

    Parameters
    ----------
    two_photon, fmost : Tensor, shape (B, D)
        Unit vectors; row i of both is one neuron.
    temperature : float, default: 0.07
        Divides the cosine similarities.
    neurons : Tensor of int, shape (B,), optional
        The neuron of each row; those of a memory that show the same one take no part.
    memory : Memory, optional
        Further wrong partners.
    """
    losses = []
    for own, other, past in _directions(two_photon, fmost, memory):
        logits = own @ torch.cat((other, past)).T / temperature
        partners = torch.arange(len(logits), device=logits.device)
        wrong = _wrong(logits, neurons, memory)
        wrong[partners, partners] = True  # the partner is a choice, too
        losses.append(functional.cross_entropy(logits.masked_fill(~wrong, -torch.inf), partners))
    return (losses[0] + losses[1]) / 2


def _labelled(
    two_photon: Tensor, fmost: Tensor, neurons: npt.NDArray[np.int64] | None
) -> tuple[Tensor, Tensor]:
    """Stack both sides (2B, D), with the number of its neuron for each row (2B,)."""
    if neurons is None:
        labels = torch.arange(len(two_photon), device=two_photon.device).repeat(2)
    else:
        labels = torch.from_numpy(neurons.reshape(-1)).to(two_photon.device)
    return torch.cat((two_photon, fmost)), labels
