"""Value noise: random values at the nodes of a lattice, interpolated between them.

The value of a node is a function of a key and of the node's place, so the texture has no
period and no extent (Lagae et al., Computer Graphics Forum 2010, section 3, "lattice noise").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_neurobridge.simulation.lattice import Sampling, Weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.simulation.lattice import Boxes, Piece
    from napari_neurobridge.types import Vec3

_ROW = 1 << 21


class Texture:
    """Noise of mean 0 and variance 1 in boxes: the mean of octaves, each with its own grain.

    Parameters
    ----------
    key : Key
        Names the texture.
    boxes : Boxes
        Voxels that want values.
    step_um : Vec3
        Step of their lattice.
    grains_um : sequence of Vec3
        Step of the nodes of every octave.
    device : torch.device
        Where the values are wanted.
    """

    def __init__(
        self,
        key: Key,
        boxes: Boxes,
        step_um: Vec3,
        grains_um: Sequence[Vec3],
        *,
        device: torch.device,
    ) -> None:
        self._samplings = [
            Sampling(boxes, step_um, grain, even=True, device=device) for grain in grains_um
        ]
        self._nodes = [
            _node_values(key.child(octave), sampling.nodes, device) * len(grains_um) ** -0.5
            for octave, sampling in enumerate(self._samplings)
        ]

    def sample(self, piece: Piece) -> Tensor:
        """Return new values for some planes and rows of some boxes."""
        first, *others = (
            sampling(nodes, piece)
            for sampling, nodes in zip(self._samplings, self._nodes, strict=True)
        )
        for octave in others:
            first += octave
        return first


def _node_values(key: Key, nodes: Boxes, device: torch.device) -> Tensor:
    z, y, x = (nodes.index(axis).to(device) for axis in range(3))
    rows = (z * _ROW)[:, :, None] + y[:, None, :]
    return key.normal((rows * _ROW)[..., None] + x[:, None, None, :])


def noise_along(key: Key, position: Tensor) -> Tensor:
    """Return value noise of mean 0 and variance 1 along a line.

    Parameters
    ----------
    key : Key
        Names the noise.
    position : Tensor, shape (n,)
        In grains, float64.

    Returns
    -------
    Tensor, shape (n,)
        float32.
    """
    weights = Weights.at(position[None], even=True, device=position.device)
    low = weights.low[0]
    near, far = key.normal(low), key.normal(low + 1)
    return torch.addcmul(near * weights.share[0], far, weights.next_share[0])
