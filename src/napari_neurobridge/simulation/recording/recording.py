"""A time series of one plane: cells that flash, in tissue that moves, streamed to disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.recording.recorded_plane import RecordedPlane, Surroundings
from napari_neurobridge.simulation.recording.recording_files import RecordingFiles, write_recording

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.simulation.recording.activity import Activity
    from napari_neurobridge.simulation.recording.footprints import Footprints, Plane
    from napari_neurobridge.simulation.recording.recorded_plane import (
        RecordedCells,
        RecordingParams,
    )
    from napari_neurobridge.types import Report

_PIXELS_AT_ONCE = 3_000_000
_FEWEST_PIXELS = 16


@dataclass(frozen=True)
class Recording:
    """What `simulate_recording` wrote, and the truth about it.

    Attributes
    ----------
    files : RecordingFiles
        The movie, its projections, the truth and the table of cells.
    footprints : Footprints
        Of the N cells that have any light in the plane, on the plane's pixels and some
        more around them.
    activity : Activity
        Of the same cells.
    motion_um : Tensor, shape (T, 3)
        Displacement of the tissue, µm (z, y, x): what lies at p is seen at p plus this.
    """

    files: RecordingFiles
    footprints: Footprints
    activity: Activity
    motion_um: Tensor


def simulate_recording(
    path: str | Path,
    cells: RecordedCells,
    plane: Plane,
    *,
    n_frames: int,
    axial_sigma_um: float,
    lateral_sigma_um: float,
    params: RecordingParams,
    key: Key,
    surroundings: Surroundings | None = None,
    frames_at_once: int | None = None,
    report: Report | None = None,
) -> Recording:
    """Record a plane, frame by frame, to an OME-TIFF (t, y, x) of 16 bits.

    Beside the movie come its projections, its truth and a table of its cells, named after
    it; all of them appear together when all is done. Frames are rigid: motion within a
    frame is not modelled.

    Parameters
    ----------
    path : str or Path
        The movie, ``….ome.tif``.
    cells : RecordedCells
        What shines.
    plane : Plane
        Where to look.
    n_frames : int
        At least 2.
    axial_sigma_um, lateral_sigma_um : float
        Gaussian point spread at the plane's depth.
    params : RecordingParams
    key : Key
        The same key gives the same movie.
    surroundings : Surroundings, optional
        Clutter, vessels and room for neuropil.
    frames_at_once : int, optional
        How many frames are held in memory; makes no difference to the result.
    report : callable, optional
        Called as ``report(done, total, message)``; may raise to cancel.

    Raises
    ------
    InputError
        If the plane is too small, there are too few frames, a map has another shape, or
        the name is wrong.
    """
    path = Path(path)
    _check_request(path, plane, n_frames)
    sigma_um = (axial_sigma_um, lateral_sigma_um)
    scope = RecordedPlane(
        cells, plane, n_frames, sigma_um, params, key, surroundings or Surroundings()
    )
    if frames_at_once is None:
        frames_at_once = max(1, _PIXELS_AT_ONCE // scope.padded.n_pixels)
    chunks = (
        scope.record(slice(start, min(start + frames_at_once, n_frames)))
        for start in range(0, n_frames, frames_at_once)
    )
    files = write_recording(
        path,
        _reported(chunks, n_frames, report),
        shape=(n_frames, *plane.shape),
        pixel_um=plane.pixel_um,
        rate_hz=params.rate_hz,
        truth=scope.truth(),
        table=scope.table(cells),
    )
    return Recording(files, scope.footprints, scope.activity, scope.motion_um)


def _check_request(path: Path, plane: Plane, n_frames: int) -> None:
    if not path.name.endswith(".ome.tif"):
        raise InputError(f"A recording is an OME-TIFF, so name it ….ome.tif, not {path.name}.")
    if n_frames < 2:
        raise InputError(f"A recording needs at least 2 frames, not {n_frames}.")
    if min(plane.shape) < _FEWEST_PIXELS:
        raise InputError(
            f"A recording needs at least {_FEWEST_PIXELS} pixels along y and x, not {plane.shape}."
        )


def _reported(
    chunks: Iterator[npt.NDArray[np.uint16]], total: int, report: Report | None
) -> Iterator[npt.NDArray[np.uint16]]:
    """Pass frames on and say how many of all have been recorded."""
    done = 0
    if report is not None:
        report(done, total, "simulating a recording")
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        if report is not None:
            report(done, total, "simulating a recording")
