"""Keypoints of an image by the feature network: middles of somata first, then what stands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from napari_neurobridge.models.current import bundled_model
from napari_neurobridge.models.model_folder import FEATURE_NET
from napari_neurobridge.registration.feature_net import (
    FeatureMaps,
    FeatureNet,
    load_feature_net,
    node_pixels,
    sample_maps,
)
from napari_neurobridge.registration.keypoints import Keypoints, PlanarImage

if TYPE_CHECKING:
    from torch import Tensor

PIXEL_UM = 1.0
"""Pixels that the network was trained on."""
# A middle of a soma as likely as this is a keypoint before anything else.
_SOMA = 0.3
_BLOCK = 8


@dataclass(frozen=True, eq=False)
class DescribedImage:
    """What the network says of one image.

    Attributes
    ----------
    maps : FeatureMaps
        Of one image at 1 µm per pixel, padded to multiples of 8 pixels.
    shape : tuple of int
        Pixels of the image before it was padded.
    """

    maps: FeatureMaps
    shape: tuple[int, int]

    def keypoints(self, count: int) -> Keypoints:
        """Return at most ``count`` places and their descriptors.

        Somata come first, the surest first; then the nodes that are likeliest to find their
        partners, of those that are better than their neighbours.
        """
        bodies, chance = self._somata(_SOMA)
        partner = self.maps.partner_logits[0].sigmoid()
        taken = self.maps.soma_logits[0].sigmoid() > _SOMA
        others = (_peaks(partner) & ~_near(taken)).flatten().nonzero()[:, 0]
        places = torch.cat([bodies, node_pixels(*partner.shape)[others]])
        found = self._described(places, torch.cat([1 + chance, partner.flatten()[others]]))
        return found.strongest(count)

    def somata(self, least_probability: float) -> Keypoints:
        """Return the middles of somata, the surest first; scores are their probabilities."""
        found = self._described(*self._somata(least_probability))
        return found.strongest(len(found))

    def _somata(self, least_probability: float) -> tuple[Tensor, Tensor]:
        """Return pixels (N, 2) and probabilities (N,)."""
        soma = self.maps.soma_logits[0].sigmoid()
        rows = (_peaks(soma) & (soma > least_probability)).flatten().nonzero()[:, 0]
        offset = self.maps.soma_offset[0].flatten(1)[:, rows].T
        return node_pixels(*soma.shape)[rows] + offset, soma.flatten()[rows]

    def _described(self, pixels: Tensor, scores: Tensor) -> Keypoints:
        """Return the places (N, 2) that lie in the image, with their descriptors."""
        inside = (pixels >= 0).all(dim=1) & (pixels < pixels.new_tensor(self.shape)).all(dim=1)
        pixels, scores = pixels[inside], scores[inside]
        found = sample_maps(self.maps.descriptors, pixels[None])[0]
        return Keypoints(
            pixels.double().numpy() * PIXEL_UM,
            scores.numpy().astype(np.float32),
            functional.normalize(found, dim=1).numpy(),
        )


class FeatureExtractor:
    """Finds and describes keypoints with a trained `FeatureNet`; an `Extractor`.

    Parameters
    ----------
    net : FeatureNet
        In evaluation mode from now on.
    name : str
        What results cite.
    """

    def __init__(self, net: FeatureNet, name: str = "feature network") -> None:
        self.net = net.eval()
        self._name = name

    @classmethod
    def bundled(cls) -> FeatureExtractor:
        """Use the network that comes with the package.

        Raises
        ------
        InputError
            If it is not there, or cannot be read.
        """
        return cls(load_feature_net(bundled_model(FEATURE_NET)))

    @property
    def name(self) -> str:
        """What results cite."""
        return self._name

    def extract(self, image: PlanarImage, count: int) -> Keypoints:
        """Return at most ``count`` keypoints, best first; positions in µm."""
        return self.describe(image).keypoints(count)

    @torch.inference_mode()
    def describe(self, image: PlanarImage) -> DescribedImage:
        """Run the network on an image of any pixel size."""
        values = image.resampled(PIXEL_UM).standardised()
        height, width = values.shape
        padded = np.pad(values, ((0, -height % _BLOCK), (0, -width % _BLOCK)), mode="reflect")
        return DescribedImage(self.net(torch.from_numpy(padded)[None]), (height, width))


def _peaks(values: Tensor) -> Tensor:
    """Return which nodes are the largest of their 3 × 3."""
    return values == functional.max_pool2d(values[None, None], 3, 1, 1)[0, 0]


def _near(chosen: Tensor) -> Tensor:
    """Return which nodes are among the 3 × 3 of a chosen one."""
    return functional.max_pool2d(chosen.float()[None, None], 3, 1, 1)[0, 0] > 0
