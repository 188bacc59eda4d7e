"""A whole scene on disk: both volumes as a user would get them, and the truth."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tifffile
import torch

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.ome_zarr import OmeZarrWriter
from napari_neurobridge.simulation.levels import Difficulty
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.optics import (
    Camera,
    FmostCamera,
    TwoPhotonCamera,
    label_fmost,
    label_two_photon,
)
from napari_neurobridge.simulation.render import Grid, PointCloud, Renderer
from napari_neurobridge.simulation.tissue import (
    Deformation,
    draw_deformation,
    make_tissue,
    residual_linear,
    torch_generator,
)
from napari_neurobridge.spaces.affine import Affine
from napari_neurobridge.spaces.orientation import Orientation

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from napari_neurobridge.simulation.tissue import Float64Array, Tissue
    from napari_neurobridge.types import Report, Vec3


_SMALLEST_UM = 30.0
_ANGLE_DEG = 10.0
_EXPANSION = (0.9, 1.05)
# The ex-vivo block reaches beyond the field by this much, give or take the shift.
_MARGIN_UM = 15.0
_SHIFT_UM = 8.0
# Somata beyond both volumes, whose processes reach into them.
_CONTEXT_UM = 30.0
_VOXELS_AT_ONCE = 6_000_000
_COUNTS, _OFFSET = 1000.0, 200.0
_TRUTH_COLUMNS = (
    "two_photon_uid",
    "fmost_uid",
    *(f"{side}_{axis}_um" for side in ("two_photon", "fmost") for axis in "zyx"),
    "in_two_photon",
    "in_fmost",
)


@dataclass(frozen=True)
class SceneFiles:
    """What `simulate_scene` wrote.

    Attributes
    ----------
    folder, two_photon, fmost, truth, orientation_path : Path
        The folder, and the images, table and orientation in it.
    orientation : Orientation
        How a user would place the fMOST volume: exact axes and handedness, a rough angle.
    deformation : Deformation
        The true map from ``two_photon`` to ``fmost``, at any point.
    n_neurons, n_pairs : int
        Cells that can be seen on either side, and on both.
    """

    folder: Path
    two_photon: Path
    fmost: Path
    truth: Path
    orientation_path: Path
    orientation: Orientation
    deformation: Deformation
    n_neurons: int
    n_pairs: int


@dataclass(frozen=True)
class _Volume:
    """Where a side's image lies in its own space: from 0, ``shape`` voxels."""

    shape: tuple[int, int, int]
    voxel_um: Vec3

    @classmethod
    def of_size(cls, size_um: npt.ArrayLike, voxel_um: Vec3) -> _Volume:
        z, y, x = (max(1, round(s / v)) for s, v in zip(np.array(size_um), voxel_um, strict=True))
        return cls((z, y, x), voxel_um)

    @property
    def extent_um(self) -> Float64Array:
        """Distance from the centre of the first voxel to that of the last, (3,)."""
        return np.asarray((np.array(self.shape) - 1) * np.array(self.voxel_um))

    def holds(self, positions_um: Float64Array) -> npt.NDArray[np.bool_]:
        """Return which positions (N, 3) lie in the image."""
        outside = (positions_um < 0) | (positions_um > self.extent_um)
        return np.asarray(~outside.any(axis=1))

    def corners(self) -> Float64Array:
        """Return the eight corners, (8, 3)."""
        unit = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1)
        return unit.reshape(-1, 3) * self.extent_um


def simulate_scene(
    out: Path,
    *,
    seed: int,
    size_um: Vec3 = (200.0, 400.0, 400.0),
    level: str | Difficulty = "paper",
    report: Report | None = None,
) -> SceneFiles:
    """Image a block of tissue with both microscopes, and write all that is known about it.

    Writes ``two_photon.ome.tif``, ``fmost.ome.zarr``, ``orientation.json`` and
    ``truth.csv``. In the table both positions are µm (z, y, x) in the space of that
    side's volume, also where the cell cannot be seen there; then its uid is empty and
    ``in_…`` is 0.

    Parameters
    ----------
    out : Path
        Folder to write to; files of an earlier scene are replaced.
    seed : int
        The same seed gives the same voxels.
    size_um : Vec3
        Size of the two-photon volume; the fMOST volume is a little larger.
    level : str or Difficulty
        Name of a difficulty, or a set of parameters.
    report : callable, optional
        Called as ``report(done, total, message)``; may raise to cancel.

    Raises
    ------
    InputError
        If the level is unknown, the size is too small, or ``out`` is a file.
    """
    out = Path(out)
    if out.is_file():
        raise InputError(f"{out} is a file; name a folder to write the scene to.")
    if len(size_um) != 3 or not min(size_um) >= _SMALLEST_UM:
        raise InputError(
            f"A scene needs three sizes of at least {_SMALLEST_UM:g} µm (z y x), not {size_um}."
        )
    difficulty = named_level(level) if isinstance(level, str) else level
    out.mkdir(parents=True, exist_ok=True)
    return _Scene(difficulty, size_um, np.random.SeedSequence(seed)).write(out, report)


class _Scene:
    """The tissue, its deformation, and both volumes before they are imaged."""

    def __init__(
        self, difficulty: Difficulty, size_um: Vec3, source: np.random.SeedSequence
    ) -> None:
        # Every concern has its own stream: nothing of one side can be told from the other.
        tissue, misfit, in_vivo, ex_vivo, names = map(np.random.default_rng, source.spawn(5))
        self.difficulty = difficulty
        self.in_vivo = _Volume.of_size(size_um, difficulty.two_photon.voxel_um)
        self.orientation = _draw_orientation(misfit)
        swapped = np.abs(self.orientation.model_copy(update={"angle_deg": 0.0}).linear())
        self.ex_vivo = _Volume.of_size(
            swapped @ np.array(size_um) + 2 * _MARGIN_UM, difficulty.fmost.voxel_um
        )
        self.deformation = self._draw_deformation(misfit)
        self.tissue = self._make_tissue(tissue)
        self._generators = (torch_generator(in_vivo), torch_generator(ex_vivo))
        self._labels = (
            label_two_photon(self.tissue, difficulty.two_photon, self._generators[0]),
            label_fmost(self.tissue, difficulty.fmost, self._generators[1]),
        )
        self._names = names

    def write(self, out: Path, report: Report | None) -> SceneFiles:
        """Image both sides and write everything to a folder."""
        two_photon, fmost = out / "two_photon.ome.tif", out / "fmost.ome.zarr"
        slabs = [list(_slabs(volume)) for volume in (self.in_vivo, self.ex_vivo)]
        total = sum(map(len, slabs))
        with atomic_write(two_photon) as temporary:
            planes = self._two_photon_slabs(slabs[0])
            _write_tiff(temporary, _reported(planes, 0, total, report), self.in_vivo)
        chunks = (16, 128, 128)
        with OmeZarrWriter(fmost, voxel_size_um=self.ex_vivo.voxel_um, chunks=chunks) as writer:
            for slab in _reported(self._fmost_slabs(slabs[1]), len(slabs[0]), total, report):
                writer.write(slab)
        orientation_path = out / "orientation.json"
        with atomic_write(orientation_path) as temporary:
            temporary.write_text(self.orientation.model_dump_json(indent=2), encoding="utf-8")
        n_neurons, n_pairs = self._write_truth(out / "truth.csv")
        return SceneFiles(
            out,
            two_photon,
            fmost,
            out / "truth.csv",
            orientation_path,
            self.orientation,
            self.deformation,
            n_neurons,
            n_pairs,
        )

    def _draw_deformation(self, rng: np.random.Generator) -> Deformation:
        """Lay the centres of both volumes nearly on each other, turned as the user says."""
        linear = self.orientation.linear() @ residual_linear(self.difficulty.misfit, rng)
        shift = rng.uniform(-_SHIFT_UM, _SHIFT_UM, 3)
        translation = self.ex_vivo.extent_um / 2 + shift - linear @ (self.in_vivo.extent_um / 2)
        affine = Affine.from_linear(linear, translation, source="two_photon", target="fmost")
        return draw_deformation(affine, self.difficulty.misfit, rng)

    def _make_tissue(self, rng: np.random.Generator) -> Tissue:
        """Fill all that either volume shows, and a little more."""
        seen = np.concatenate(
            [
                self.in_vivo.corners(),
                self.deformation.inverse().map_points(self.ex_vivo.corners()),
            ]
        )
        low, high = seen.min(axis=0) - _CONTEXT_UM, seen.max(axis=0) + _CONTEXT_UM
        return make_tissue(
            (low[0], low[1], low[2]), (high[0], high[1], high[2]), self.difficulty.tissue, rng
        )

    def _two_photon_slabs(self, slabs: list[slice]) -> Iterator[npt.NDArray[np.uint16]]:
        extent = self.in_vivo.extent_um
        camera = TwoPhotonCamera(
            (0.0, 0.0, 0.0),
            (extent[0], extent[1], extent[2]),
            self.difficulty.two_photon,
            self._generators[0],
        )
        cloud = PointCloud(self.tissue.morphology.position_um, self._labels[0].amount)
        return _image(cloud.lit(), camera, self.in_vivo, slabs)

    def _fmost_slabs(self, slabs: list[slice]) -> Iterator[npt.NDArray[np.uint16]]:
        camera = FmostCamera(self.difficulty.fmost, self._generators[1])
        cloud = PointCloud(self.tissue.morphology.position_um, self._labels[1].amount)
        return _image(cloud.lit().mapped(self.deformation), camera, self.ex_vivo, slabs)

    def _write_truth(self, path: Path) -> tuple[int, int]:
        """Write a row for each cell seen on either side; return their number, and the pairs."""
        in_vivo_um = self.tissue.center_um.double().numpy()
        ex_vivo_um = self.deformation.map_points(in_vivo_um)
        positions = (in_vivo_um, ex_vivo_um)
        seen = [
            labelling.visible.numpy() & volume.holds(where)
            for labelling, volume, where in zip(
                self._labels, (self.in_vivo, self.ex_vivo), positions, strict=True
            )
        ]
        uids = [
            _shuffled_uids(prefix, mask, self._names)
            for prefix, mask in zip(("tp", "fm"), seen, strict=True)
        ]
        with (
            atomic_write(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as handle,
        ):
            writer = csv.writer(handle)
            writer.writerow(_TRUTH_COLUMNS)
            for cell in np.flatnonzero(seen[0] | seen[1]):
                where = [f"{value:.3f}" for side in positions for value in side[cell]]
                names = [column[cell] for column in uids]
                writer.writerow([*names, *where, int(seen[0][cell]), int(seen[1][cell])])
        return int((seen[0] | seen[1]).sum()), int((seen[0] & seen[1]).sum())


def _draw_orientation(rng: np.random.Generator) -> Orientation:
    """Draw how a user would place a brain that was not cut along the optical axis."""
    names = rng.permutation(["z", "y", "x"]).tolist()
    if names[0] == "z":
        names = names[1:] + names[:1]
    return Orientation(
        axes="".join(str(rng.choice(["+", "-"])) + name for name in names),
        angle_deg=round(float(rng.uniform(-_ANGLE_DEG, _ANGLE_DEG)), 1),
        expansion=round(float(rng.uniform(*_EXPANSION)), 2),
    )


def _shuffled_uids(prefix: str, seen: npt.NDArray[np.bool_], rng: np.random.Generator) -> list[str]:
    """Name the cells of one side in an order of its own; the others get no name."""
    names = [""] * len(seen)
    for number, cell in enumerate(rng.permutation(np.flatnonzero(seen)), start=1):
        names[cell] = f"{prefix}-{number:05d}"
    return names


def _slabs(volume: _Volume) -> Iterator[slice]:
    """Cut a volume along z into slabs that fit into memory."""
    depth, height, width = volume.shape
    thickness = max(1, _VOXELS_AT_ONCE // (height * width))
    for start in range(0, depth, thickness):
        yield slice(start, min(start + thickness, depth))


def _image(
    cloud: PointCloud, camera: Camera, volume: _Volume, slabs: list[slice]
) -> Iterator[npt.NDArray[np.uint16]]:
    """Yield the voxels of each slab, (n, H, W)."""
    extent = torch.from_numpy(volume.extent_um).float()
    clutter = camera.clutter(torch.full((3,), -_CONTEXT_UM), extent + _CONTEXT_UM)
    renderer = Renderer(cloud.joined(clutter))
    for slab in slabs:
        grid = Grid((slab.stop - slab.start, *volume.shape[1:]), volume.voxel_um)
        origin = torch.tensor([[slab.start * volume.voxel_um[0], 0.0, 0.0]])
        density = renderer.render(origin, grid, camera.sigma_um)
        image = camera.expose(density, origin, grid)[0]
        counts = image.mul_(_COUNTS).add_(_OFFSET).round_().clamp_(0, 65535)
        yield counts.numpy().astype(np.uint16)


def _reported(
    slabs: Iterator[npt.NDArray[np.uint16]], done: int, total: int, report: Report | None
) -> Iterator[npt.NDArray[np.uint16]]:
    """Pass slabs on and say how many of all have been imaged."""
    if report is not None:
        report(done, total, "simulating a scene")
    for number, slab in enumerate(slabs, start=done + 1):
        yield slab
        if report is not None:
            report(number, total, "simulating a scene")


def _write_tiff(path: Path, slabs: Iterator[npt.NDArray[np.uint16]], volume: _Volume) -> None:
    metadata: dict[str, object] = {"axes": "ZYX"}
    for axis, step in zip("ZYX", volume.voxel_um, strict=True):
        metadata[f"PhysicalSize{axis}"] = step
        metadata[f"PhysicalSize{axis}Unit"] = "µm"
    planes = (plane for slab in slabs for plane in slab)
    tifffile.imwrite(
        path,
        planes,
        shape=volume.shape,
        dtype=np.uint16,
        ome=True,
        photometric="minisblack",
        metadata=metadata,
    )
