"""Named coordinate systems in µm (z, y, x), and the maps between them."""

from napari_neurobridge.spaces.affine import Affine
from napari_neurobridge.spaces.graph import SpaceGraph, Transform
from napari_neurobridge.spaces.orientation import Orientation

__all__ = ["Affine", "Orientation", "SpaceGraph", "Transform"]
