"""Writing a recording as it is made, with its projections and its truth."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.ome_tiff import write_ome_tiff
from napari_neurobridge.io.projections import RunningProjections
from napari_neurobridge.io.tables import write_rows
from napari_neurobridge.types import Projection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

_SUFFIX = ".ome.tif"


@dataclass(frozen=True)
class RecordingFiles:
    """Files of one recording.

    Attributes
    ----------
    movie : Path
        OME-TIFF (t, y, x), uint16.
    projections : mapping of Projection to Path
        OME-TIFF (y, x), float32, ``<movie>_<projection>.ome.tif``.
    truth : Path
        ``<movie>_truth.npz``: arrays ``cell`` (N,), ``motion_um`` (T, 3), ``calcium`` and
        ``spikes`` (N, T), ``rate_hz`` (N,), ``neuropil`` (T,) and ``frame_rate_hz``.
    cells : Path
        ``<movie>_cells.csv``: a row for each of the N cells.
    """

    movie: Path
    projections: Mapping[Projection, Path]
    truth: Path
    cells: Path

    @classmethod
    def beside(cls, movie: Path) -> RecordingFiles:
        """Return the names that go with a movie's."""
        stem = movie.name.removesuffix(_SUFFIX)
        return cls(
            movie,
            {p: movie.with_name(f"{stem}_{p}{_SUFFIX}") for p in Projection},
            movie.with_name(f"{stem}_truth.npz"),
            movie.with_name(f"{stem}_cells.csv"),
        )


def write_recording(
    movie: Path,
    chunks: Iterable[npt.NDArray[np.uint16]],
    *,
    shape: tuple[int, int, int],
    pixel_um: float,
    rate_hz: float,
    truth: Mapping[str, npt.NDArray[Any]],
    table: Mapping[str, Sequence[object]],
) -> RecordingFiles:
    """Write the movie and what goes with it; all files appear when all are complete.

    Parameters
    ----------
    movie : Path
        The movie, ``….ome.tif``.
    chunks : iterable of ndarray of uint16, each of shape (n, H, W)
        The frames in order, made while they are written.
    shape : tuple of int
        Frames, height and width of the whole.
    pixel_um : float
        Size of a pixel.
    rate_hz : float
        Frames per second.
    truth : mapping of str to ndarray
        Arrays of the truth.
    table : mapping of str to sequence
        Columns of the table of cells.
    """
    files = RecordingFiles.beside(movie)
    running = RunningProjections(Projection)
    with ExitStack() as stack:
        # The movie is entered first, so that it is the last to get its name.
        movie_path = stack.enter_context(atomic_write(files.movie))
        step_um = {"Y": pixel_um, "X": pixel_um}
        write_ome_tiff(
            movie_path,
            _projected(chunks, running),
            axes="TYX",
            shape=shape,
            dtype=np.uint16,
            step_um=step_um,
            metadata={"TimeIncrement": 1 / rate_hz, "TimeIncrementUnit": "s"},
        )
        for projection, path in files.projections.items():
            image = running.result(projection)
            temporary = stack.enter_context(atomic_write(path))
            write_ome_tiff(
                temporary,
                iter([image]),
                axes="YX",
                shape=image.shape,
                dtype=np.float32,
                step_um=step_um,
            )
        arrays = stack.enter_context(atomic_write(files.truth))
        # NumPy 2.0 would take allow_pickle, which its types now name, for an array.
        np.savez_compressed(arrays, **truth)  # type: ignore[arg-type]
        cells = stack.enter_context(atomic_write(files.cells))
        write_rows(cells, table, zip(*table.values(), strict=True))
    return files


def _projected(
    chunks: Iterable[npt.NDArray[np.uint16]], running: RunningProjections
) -> Iterator[npt.NDArray[np.uint16]]:
    """Yield frame by frame, and project them on the way."""
    for chunk in chunks:
        running.add(chunk)
        yield from chunk
