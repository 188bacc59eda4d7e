"""Simulated brains imaged by both microscopes, and what the feature network finds in them."""

from __future__ import annotations

import time
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import map_coordinates

from napari_neurobridge.benchmarks.localisation_brains import (
    FIELD_UM,
    VOLUME_UM,
    FieldSite,
    Float64Array,
    SimulatedBrain,
)
from napari_neurobridge.io.volumes import open_volume
from napari_neurobridge.models.current import bundled_model
from napari_neurobridge.models.model_folder import SOMA_PAIR_NET
from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.registration.slabs import volume_somata
from napari_neurobridge.registration.soma_pairs import CropSource, load_soma_pair_net
from napari_neurobridge.registration.volume_pairs import SlabImages, VolumePairJudge
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.render import Box
from napari_neurobridge.simulation.scene_files import photograph_fmost

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.registration.feature_points import FeatureExtractor
    from napari_neurobridge.registration.soma_pairs import SomaPairNet
    from napari_neurobridge.types import Float32Array, Report, Vec3

# So far a corner of the field moves when it is turned: all of it is to show tissue.
_MARGIN_UM = (np.sqrt(2) - 1) / 2 * FIELD_UM
# Planes of 2 µm that are averaged: a long exposure of one plane that moves a little.
_PLANES = 3
_SOMA = 0.3


class ImagedBrain(SimulatedBrain):
    """A brain whose fMOST volume and fields of view are imaged, and their somata detected.

    Parameters
    ----------
    level : str
    seed : int
    cache : Path
        Folder for the fMOST volume, which is imaged unless it is there.
    size_um : Vec3
    report : callable, optional

    Attributes
    ----------
    detection_s : float
        That finding the somata of the volume took.
    """

    def __init__(
        self,
        level: str,
        seed: int,
        cache: Path,
        size_um: Vec3 = VOLUME_UM,
        *,
        report: Report | None = None,
    ) -> None:
        size = "x".join(f"{length:g}" for length in size_um)
        name = f"brain-{level}-{named_level(level).digest()}-{size}-{seed:06d}.ome.zarr"
        self._path, self._report = cache / name, report
        super().__init__(level, seed, size_um)

    @property
    def volume(self) -> Volume:
        """The fMOST volume, on disk."""
        return open_volume(self._path, name="fMOST")

    def draw_site(self, kind: str) -> FieldSite:
        """Image a field of view at any depth and angle, and find its somata."""
        thick, low, turn = self._draw_place(kind, _MARGIN_UM)
        step = self.scene.two_photon.voxel_um[0]
        count = round(thick / step) + 1 if thick else _PLANES
        # A plane's own depth is the middle of what is averaged.
        low[0] = max(round(low[0] / step - (0 if thick else count // 2)), 0) * step
        planes = self._imaged(FieldSite(np.empty((0, 3)), low, turn), count)
        began = time.perf_counter()
        if thick:
            somata = volume_somata(planes, (step, 1.0, 1.0), extractor()).positions_um
            return FieldSite(somata, low, turn, seconds=time.perf_counter() - began)
        image = PlanarImage.of(planes.mean(axis=0), 1.0)
        found = extractor().describe(image).somata(_SOMA).positions_um
        seconds = time.perf_counter() - began
        low[0] += count // 2 * step
        somata = np.column_stack([np.zeros(len(found)), found])
        return FieldSite(somata, low, turn, image, seconds)

    def judge(self, site: FieldSite) -> VolumePairJudge | None:
        """Return what judges pairs by the plane's image; None for a stack."""
        if site.image is None:
            return None
        return VolumePairJudge(_pair_net(), CropSource.of(site.image), self._slabs)

    @cached_property
    def _slabs(self) -> SlabImages:
        axis = self.scene.orientation.axis_order[0]
        return SlabImages(self.volume.levels[0], self.scene.fmost.voxel_um, axis)

    def _imaged(self, site: FieldSite, count: int) -> Float32Array:
        """Return what the microscope shows of a field, (count, H, W) at 1 µm."""
        extent = self.scene.two_photon
        voxel = np.array(extent.voxel_um)
        at = np.arange(int(FIELD_UM))
        grid = np.stack(np.meshgrid([0.0], at, at, indexing="ij"), axis=-1)
        places = site.in_tissue(grid.reshape(-1, 3)) / voxel
        first = np.maximum(np.floor(places.min(axis=0)).astype(int), 0)
        last = np.minimum(np.ceil(places.max(axis=0)).astype(int), np.array(extent.shape) - 1)
        box = Box(
            (int(first[0]), int(first[1]), int(first[2])),
            (count, *(last - first + 1)[1:].tolist()),
            extent.voxel_um,
        )
        planes = self.scene.sides[0].photograph(box).numpy()
        across = (places - first)[:, 1:].T
        turned = [map_coordinates(plane, across, order=1, mode="nearest") for plane in planes]
        return np.stack(turned).reshape(count, len(at), len(at)).astype(np.float32)

    def _detected(self) -> Float64Array:
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            photograph_fmost(self.scene, self._path, report=self._report)
        began = time.perf_counter()
        somata = volume_somata(
            self.volume.levels[0],
            self.scene.fmost.voxel_um,
            extractor(),
            axis=self.scene.orientation.axis_order[0],
            report=self._report,
        )
        self.detection_s = time.perf_counter() - began
        return somata.positions_um


@lru_cache(maxsize=1)
def _pair_net() -> SomaPairNet:
    return load_soma_pair_net(bundled_model(SOMA_PAIR_NET))


@lru_cache(maxsize=1)
def extractor() -> FeatureExtractor:
    """Return the feature network that comes with the package."""
    from napari_neurobridge.registration.feature_points import FeatureExtractor

    return FeatureExtractor.bundled()
