"""A whole scene on disk: both volumes as a user would get them, and the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.ome_tiff import write_ome_tiff
from napari_neurobridge.io.ome_zarr import OmeZarrWriter
from napari_neurobridge.simulation.levels import Difficulty
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.neurons.sources import neuron_factory
from napari_neurobridge.simulation.recording.of_scene import record_scene
from napari_neurobridge.simulation.recording.recording_files import RecordingFiles
from napari_neurobridge.simulation.render import Box
from napari_neurobridge.simulation.scene import Scene
from napari_neurobridge.simulation.scene_tables import name_cells, write_truth, write_vessels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from napari_neurobridge.io.morphology import Reconstruction
    from napari_neurobridge.simulation.optics.labels import Label
    from napari_neurobridge.simulation.scene import ImageExtent
    from napari_neurobridge.simulation.sides import ImagedSpecimen
    from napari_neurobridge.spaces.chain import Chain
    from napari_neurobridge.spaces.orientation import Orientation
    from napari_neurobridge.types import Report, Vec3

_VOXELS_AT_ONCE = 16_000_000
_COUNTS, _OFFSET = 1000.0, 200.0


@dataclass(frozen=True)
class SceneFiles:
    """What `simulate_scene` wrote.

    Attributes
    ----------
    folder, two_photon, fmost, truth, vessels, orientation_path : Path
        The folder, and the images, tables and orientation in it.
    orientation : Orientation
        How a user would place the fMOST volume: exact axes and handedness, a rough angle.
    transform : Chain
        The true map from ``two_photon`` to ``fmost``, at any point.
    n_neurons, n_pairs : int
        Cells that either volume shows, and that both show.
    recording : Path or None
        The time series of the two-photon volume's middle plane, if one was asked for; its
        projections and tables lie beside it (`RecordingFiles.beside`).
    """

    folder: Path
    two_photon: Path
    fmost: Path
    truth: Path
    vessels: Path
    orientation_path: Path
    orientation: Orientation
    transform: Chain
    n_neurons: int
    n_pairs: int
    recording: Path | None = None


def simulate_scene(
    out: Path,
    *,
    seed: int,
    size_um: Vec3 = (200.0, 400.0, 400.0),
    level: str | Difficulty = "paper",
    morphologies: Sequence[Reconstruction] = (),
    n_frames: int = 0,
    report: Report | None = None,
) -> SceneFiles:
    """Image a block of tissue with both microscopes, and write all that is known about it.

    Writes ``two_photon.ome.tif``, ``fmost.ome.zarr``, ``orientation.json``, ``truth.csv`` and
    ``vessels.csv``; with ``n_frames`` also ``recording.ome.tif`` and what goes with it. In the
    tables both positions are µm (z, y, x) in the space of that side's volume, also where the
    cell cannot be seen there; then ``in_…`` is 0. Cells that only a recording shows have a
    two-photon uid, too. The vessels' table names branch points that both volumes hold.

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
    morphologies : sequence of Reconstruction
        Real neurons to fill the tissue with; procedural ones unless given.
    n_frames : int
        Frames to record of the two-photon volume's middle plane; 0 for no recording.
    report : callable, optional
        Called as ``report(done, total, message)``; may raise to cancel.

    Raises
    ------
    InputError
        If the level is unknown, a size or number of frames makes no sense, or ``out`` is a
        file.
    """
    out = Path(out)
    if out.is_file():
        raise InputError(f"{out} is a file; name a folder to write the scene to.")
    if n_frames < 0 or n_frames == 1:
        raise InputError(f"A recording needs at least 2 frames, or 0 for none, not {n_frames}.")
    difficulty = named_level(level) if isinstance(level, str) else level
    scene = Scene(difficulty, size_um, seed, neuron_factory(difficulty.morphology, morphologies))
    out.mkdir(parents=True, exist_ok=True)
    orientation_path, truth_path, vessels_path = (
        out / name for name in ("orientation.json", "truth.csv", "vessels.csv")
    )
    # Should this scene be cancelled, nothing may speak for its images but their own truth.
    for path in (orientation_path, truth_path, vessels_path):
        path.unlink(missing_ok=True)
    two_photon, fmost = out / "two_photon.ome.tif", out / "fmost.ome.zarr"
    _photograph(scene, two_photon, fmost, report)
    truth = scene.truth()
    uids = name_cells(truth, scene.key.child("names"))
    movie = out / "recording.ome.tif"
    if n_frames:
        record_scene(movie, scene, n_frames=n_frames, uids=uids[0], report=report)
    else:
        _remove(RecordingFiles.beside(movie))
    with atomic_write(orientation_path) as temporary:
        temporary.write_text(scene.orientation.model_dump_json(indent=2), encoding="utf-8")
    write_truth(truth_path, truth, uids)
    write_vessels(vessels_path, *scene.branch_points_um())
    return SceneFiles(
        out,
        two_photon,
        fmost,
        truth_path,
        vessels_path,
        orientation_path,
        scene.orientation,
        scene.transform,
        int((truth.in_two_photon | truth.in_fmost).sum()),
        int((truth.in_two_photon & truth.in_fmost).sum()),
        movie if n_frames else None,
    )


def _photograph(scene: Scene, two_photon: Path, fmost: Path, report: Report | None) -> None:
    """Write both volumes, slab by slab."""
    boxes = list(_slabs(scene.two_photon))
    total = len(boxes) + len(list(_slabs(scene.fmost)))
    with atomic_write(two_photon) as temporary:
        slabs = _reported(_voxels(scene.sides[0], boxes), 0, total, report)
        _write_tiff(temporary, slabs, scene.two_photon)

    def tell(done: int, _: int, message: str) -> None:
        if report is not None:
            report(len(boxes) + done, total, message)

    photograph_fmost(scene, fmost, report=tell)


def photograph_fmost(scene: Scene, path: Path, *, report: Report | None = None) -> None:
    """Image a scene's fMOST volume alone, slab by slab.

    Parameters
    ----------
    scene : Scene
    path : Path
        OME-Zarr folder to be; an existing one is replaced.
    report : callable, optional
        Called as ``report(done, total, message)``; may raise to cancel.
    """
    boxes = list(_slabs(scene.fmost))
    with OmeZarrWriter(path, voxel_size_um=scene.fmost.voxel_um, chunks=(16, 128, 128)) as writer:
        for slab in _reported(_voxels(scene.sides[1], boxes), 0, len(boxes), report):
            writer.write(slab)


def _remove(files: RecordingFiles) -> None:
    """Remove the recording of an earlier scene, whose cells were others."""
    for path in (files.movie, *files.projections.values(), files.truth, files.cells):
        path.unlink(missing_ok=True)


def _slabs(volume: ImageExtent) -> Iterator[Box]:
    """Cut a volume along z into slabs that fit into memory."""
    depth, height, width = volume.shape
    thickness = max(1, _VOXELS_AT_ONCE // (height * width))
    for start in range(0, depth, thickness):
        count = min(thickness, depth - start)
        yield Box((start, 0, 0), (count, height, width), volume.voxel_um)


def _voxels(side: ImagedSpecimen[Label], boxes: list[Box]) -> Iterator[npt.NDArray[np.uint16]]:
    """Yield the voxels of each box, (n, H, W)."""
    for box in boxes:
        counts = side.photograph(box).mul_(_COUNTS).add_(_OFFSET).round_().clamp_(0, 65535)
        yield counts.cpu().numpy().astype(np.uint16)


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


def _write_tiff(path: Path, slabs: Iterator[npt.NDArray[np.uint16]], volume: ImageExtent) -> None:
    write_ome_tiff(
        path,
        (plane for slab in slabs for plane in slab),
        axes="ZYX",
        shape=volume.shape,
        dtype=np.uint16,
        step_um=dict(zip("ZYX", volume.voxel_um, strict=True)),
    )
