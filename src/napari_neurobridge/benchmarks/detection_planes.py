"""Single planes, of a simulated stack or real ones, and what detectors find in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.benchmarks.real_pairs import GALLERY, IMAGES, QUERIES
from napari_neurobridge.benchmarks.real_pairs_projects import find_real_sets, noted_pixels
from napari_neurobridge.detection.hits import SAME_SOMA_UM, find_hits
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tables import read_points
from napari_neurobridge.io.volumes import Volume, open_volume
from napari_neurobridge.registration.keypoints import PlanarImage

if TYPE_CHECKING:
    from napari_neurobridge.registration.feature_points import FeatureExtractor

_DEPTHS = (0.2, 0.4, 0.6, 0.8)
# A soma this much out of the plane is seen, though its middle is not in it.
_GRAZED_UM = 10.0
# The best F1 of the feature network's card.
_FEATURE_PROBABILITY = 0.4

Places = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """Somata that a method found, (N, 3) in µm, and how sure it is, (N,)."""

    centers_um: Places
    confidence: npt.NDArray[np.float64]


@dataclass(frozen=True)
class SimulatedPlane:
    """A plane of a stack.

    Attributes
    ----------
    volume : Volume
        Of one plane.
    truth_um : ndarray, shape (N, 3)
        Somata whose middle is within 5 µm of the plane, with z = 0.
    grazed_um : ndarray, shape (M, 3)
        Those 5 to 10 µm off it: to find them is neither right nor wrong.
    """

    volume: Volume
    truth_um: Places
    grazed_um: Places

    def judged(self, found: Found) -> tuple[Found, npt.NDArray[np.bool_]]:
        """Return the detections that count, and which are a soma in the plane, each its own."""
        hit = find_hits(self.truth_um, found.centers_um)
        grazing = np.zeros_like(hit)
        grazing[~hit] = find_hits(self.grazed_um, found.centers_um[~hit])
        return Found(found.centers_um[~grazing], found.confidence[~grazing]), hit[~grazing]


def planes_of(volume: Volume, truth_um: Places) -> list[SimulatedPlane]:
    """Return four planes of a stack, at a fifth to four fifths of its depth.

    Parameters
    ----------
    volume : Volume
    truth_um : ndarray, shape (N, 3)
        Its somata.
    """
    depth, height, width = volume.shape
    planes = []
    for share in _DEPTHS:
        row = round(share * (depth - 1))
        values = volume.read((row, 0, 0), (row + 1, height, width))
        away = np.abs(truth_um[:, 0] - row * volume.voxel_size_um[0])
        flat = truth_um * (0, 1, 1)
        near = away <= SAME_SOMA_UM
        planes.append(
            SimulatedPlane(
                Volume([values], name=volume.name, voxel_size_um=volume.voxel_size_um),
                flat[near],
                flat[~near & (away <= _GRAZED_UM)],
            )
        )
    return planes


def found_by_features(plane: Volume, extractor: FeatureExtractor) -> Found:
    """Return the somata of the feature network."""
    values = plane.read((0, 0, 0), plane.shape)[0]
    _, *steps_um = plane.voxel_size_um
    image = PlanarImage.squared(values, (steps_um[0], steps_um[1]), min(steps_um))
    found = extractor.describe(image).somata(_FEATURE_PROBABILITY)
    centers = np.pad(found.positions_um, ((0, 0), (1, 0)))
    return Found(centers, found.scores.astype(np.float64))


@dataclass(frozen=True)
class RealPlane:
    """A real image whose cells people or another program drew.

    Attributes
    ----------
    name : str
        Its folder and its side.
    volume : Volume
        Of one plane.
    cells_um : ndarray, shape (N, 3)
        Their middles, with z = 0.
    """

    name: str
    volume: Volume
    cells_um: Places


def real_planes(folder: Path) -> list[RealPlane]:
    """Return the images of a folder of two real planes, or of the folders in it.

    Raises
    ------
    InputError
        If there is none, or the side of the pixels is not noted.
    """
    planes = []
    for real in find_real_sets(folder):
        for image, table, side_um in zip(
            IMAGES, (QUERIES, GALLERY), noted_pixels(real.folder), strict=True
        ):
            if (real.folder / image).is_file():
                volume = open_volume(
                    real.folder / image, name=image, voxel_size_um=(1.0, side_um, side_um)
                )
                _, cells_um = read_points(real.folder / table)
                name = f"{real.name}-{Path(image).stem}"
                planes.append(RealPlane(name, volume, cells_um * (0, 1, 1)))
    if not planes:
        raise InputError(f"There is no image in the folders of {folder}.")
    return planes
