"""A project on disk: its datasets, their images, and what people decided about them."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.files import atomic_folder
from napari_neurobridge.project.images import locate_image, open_image
from napari_neurobridge.project.lock import LockHolder, writer_lock
from napari_neurobridge.project.log.events import Undone
from napari_neurobridge.project.log.fold import IncrementalFold, State
from napari_neurobridge.project.manifest import (
    DatasetSpec,
    Manifest,
    dataset_spec,
    read_manifest,
    with_new_dataset,
    write_manifest,
)
from napari_neurobridge.project.project_spaces import ProjectSpaces
from napari_neurobridge.project.store import EventLog, LogWriter
from napari_neurobridge.spaces.affine import as_points
from napari_neurobridge.types import DEFAULT_NAMES, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    import numpy.typing as npt

    from napari_neurobridge.io.crops import CropSpec
    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.project.log.events import Event
    from napari_neurobridge.project.log.payload import Payload
    from napari_neurobridge.spaces import Orientation
    from napari_neurobridge.spaces.alignment import Alignment, InverseAlignment
    from napari_neurobridge.spaces.crop_frame import CropFrame
    from napari_neurobridge.types import Float32Array, Report

__all__ = ["DatasetSpec", "Project", "dataset_spec"]

_LOG_NAME = "annotations.db"
_LOCK_NAME = "job.lock"
_SUBFOLDERS = ("embeddings", "transforms", "models", "runs", "rois")


class Project:
    """A project folder; make one with `Project.create` or `Project.open`.

    Parameters
    ----------
    path : Path
        The folder.
    manifest : Manifest
        What its ``project.toml`` says.
    log : EventLog
        Its events.

    Attributes
    ----------
    path : Path
        The folder.
    log : EventLog
        Its events.
    """

    def __init__(self, path: Path, manifest: Manifest, log: EventLog) -> None:
        self.path = path
        self.log = log
        self._manifest = manifest
        self._volumes: dict[str, Volume] = {}
        self._spaces = ProjectSpaces(self)
        self._fold = IncrementalFold()
        self._events: list[Event] = []
        self._position = 0
        self._state = self._with_all_datasets(State())
        # Reading is shared by the threads that answer clicks.
        self._mutex = threading.RLock()
        # Of its own, since opening an image is slow and must not hold up a click.
        self._volumes_mutex = threading.Lock()

    @classmethod
    def create(cls, path: str | Path, datasets: Sequence[DatasetSpec] = ()) -> Project:
        """Make a new project folder.

        Parameters
        ----------
        path : str or Path
            Must not exist, or be an empty folder.
        datasets : sequence of DatasetSpec
            A relative ``uri`` is looked up from the current folder first and from the
            project's second. Voxel size and fingerprint are taken from the file when
            they are ``None``.

        Raises
        ------
        InputError
            If the folder is not empty, or an image is missing or cannot be read.
        """
        path = Path(os.path.abspath(path))
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f"{path} already exists and is not empty; choose another folder.")
        manifest = Manifest.new(())
        for spec in datasets:
            manifest = with_new_dataset(manifest, spec, path)
        with atomic_folder(path) as temporary:
            for name in _SUBFOLDERS:
                (temporary / name).mkdir()
            EventLog(temporary / _LOG_NAME, create=True).close()
            write_manifest(temporary, manifest)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> Project:
        """Open a project folder.

        Raises
        ------
        InputError
            If there is no project, it is damaged, or a newer program made it.
        """
        path = Path(os.path.abspath(path))
        if not path.is_dir():
            raise InputError(f"There is no project folder {path}.", kind=ErrorKind.NO_PROJECT)
        manifest = read_manifest(path)
        for name in _SUBFOLDERS:  # archives lose empty folders
            (path / name).mkdir(exist_ok=True)
        project = cls(path, manifest, EventLog(path / _LOG_NAME))
        try:
            project.state()
        except InputError:
            project.close()
            raise
        return project

    def close(self) -> None:
        """Release the files; the project must not be used any more."""
        self.log.close()

    @property
    def embeddings_dir(self) -> Path:
        """Folder of the galleries' embeddings."""
        return self.path / "embeddings"

    @property
    def transforms_dir(self) -> Path:
        """Folder of alignments that matches found."""
        return self.path / "transforms"

    @property
    def models_dir(self) -> Path:
        """Folder of models trained in this project."""
        return self.path / "models"

    @property
    def rois_dir(self) -> Path:
        """Folder of the sizes and outlines of imported regions."""
        return self.path / "rois"

    @property
    def runs_dir(self) -> Path:
        """Folder of the records of long jobs."""
        return self.path / "runs"

    @property
    def datasets(self) -> dict[str, DatasetSpec]:
        """The datasets by name, in the order in which they were added."""
        return {spec.name: spec for spec in self._manifest.datasets}

    @property
    def datasets_with_images(self) -> list[str]:
        """Names of the datasets that are more than a table of points, in the same order."""
        return [name for name, spec in self.datasets.items() if spec.uri is not None]

    def has_images(self, *names: str) -> bool:
        """Return whether all of some datasets have an image; the two default ones unless given."""
        return set(names or (self.in_vivo(), self.ex_vivo())) <= set(self.datasets_with_images)

    def dataset(self, name: str) -> DatasetSpec:
        """Return a dataset.

        Raises
        ------
        InputError
            If there is none of that name.
        """
        if name in self.datasets:
            return self.datasets[name]
        known = ", ".join(self.datasets) or "none yet"
        raise InputError(f"There is no dataset '{name}' in this project; its datasets: {known}.")

    def in_vivo(self) -> str:
        """Return the name of the default in-vivo dataset."""
        return self._default_dataset(Role.IN_VIVO)

    def ex_vivo(self) -> str:
        """Return the name of the default ex-vivo dataset."""
        return self._default_dataset(Role.EX_VIVO)

    def _default_dataset(self, role: Role) -> str:
        names = [spec.name for spec in self._manifest.datasets if spec.role is role]
        if not names:
            raise InputError(
                f"The project has no {role.replace('_', '-')} dataset.", kind=ErrorKind.NO_DATASET
            )
        return DEFAULT_NAMES[role] if DEFAULT_NAMES[role] in names else names[0]

    def add_dataset(self, spec: DatasetSpec) -> DatasetSpec:
        """Add a dataset and return it as stored; see `create` for its ``uri``.

        Raises
        ------
        InputError
            If the name is taken, or the image is missing or cannot be read.
        """
        self._change_manifest(lambda manifest: with_new_dataset(manifest, spec, self.path))
        return self.dataset(spec.name)

    def set_orientation(self, name: str, orientation: Orientation) -> None:
        """Say how a dataset lies in the default in-vivo dataset's frame."""
        self.update_dataset(name, orientation=orientation)

    def update_dataset(self, name: str, **changes: Any) -> DatasetSpec:
        """Change fields of a dataset, such as ``voxel_size_um``, and return it; its name stays.

        Raises
        ------
        InputError
            If the dataset is unknown or a value does not fit.
        """

        def change(manifest: Manifest) -> Manifest:
            known = {spec.name: spec for spec in manifest.datasets}
            if name not in known:
                return manifest
            return manifest.with_dataset(dataset_spec(**{**dict(known[name]), **changes}))

        self.dataset(name)
        self._change_manifest(change)
        with self._volumes_mutex:
            self._volumes.pop(name, None)
        return self.dataset(name)

    def _change_manifest(self, change: Callable[[Manifest], Manifest]) -> None:
        # The log's write lock keeps two processes from overwriting each other's change.
        with self.log.writing():
            manifest = change(read_manifest(self.path))
            write_manifest(self.path, manifest)
        with self._mutex:
            self._manifest = manifest
            self._state = self._with_all_datasets(self._state)

    def image_path(self, name: str) -> Path:
        """Return where a dataset's image is now.

        Raises
        ------
        InputError
            If the dataset has only points, or its image has been moved.
        """
        return locate_image(self.dataset(name), self.path)

    def volume(self, name: str) -> Volume:
        """Open the image of a dataset, lazily; kept open for the next time.

        Raises
        ------
        InputError
            If it is missing, cannot be read, or is another than the one that was added.
        """
        with self._volumes_mutex:
            if name not in self._volumes:
                self._volumes[name] = open_image(self.dataset(name), self.path)
            return self._volumes[name]

    def state(self) -> State:
        """Return what all events say; cached until any process appends to the log."""
        with self._mutex:
            if self.log.position() != self._position:
                self._take_in(*self.log.read(self._position))
            return self._state

    def _take_in(self, events: Sequence[Event], position: int) -> None:
        self._events.extend(events)
        self._state = self._with_all_datasets(self._fold.fold(self._events))
        self._position = position

    def _with_all_datasets(self, state: State) -> State:
        """Give datasets without somata an empty entry, so that all can be looked up."""
        return replace(state, somata={**{name: {} for name in self.datasets}, **state.somata})

    def record(self, annotator: str, decide: Callable[[State], Sequence[Payload]]) -> list[Event]:
        """Append the events that follow from the current state, in one step.

        Parameters
        ----------
        annotator : str
            Who decides.
        decide : callable
            Gets the state and returns payloads, or raises. No other process can append
            between the two, so checks made here hold and new uids are free.

        Returns
        -------
        list of Event
            On the disk.
        """
        if not annotator.strip():
            raise InputError("The annotator needs a name.", kind=ErrorKind.NO_ANNOTATOR)
        with self.log.writing() as writer:
            state = self._state_within(writer)
            return writer.record(annotator, decide(state))

    def _state_within(self, writer: LogWriter) -> State:
        with self._mutex:
            events, position = writer.read(self._position)
            if events:
                self._take_in(events, position)
            return self._state

    def action_behind(self, event: Event) -> Event:
        """Return the action that an undo or redo is about, and any other event itself."""
        known = {earlier.id: earlier for earlier in self._events}
        while isinstance(event.content, Undone) and event.content.target in known:
            event = known[event.content.target]
        return event

    def lock(self) -> AbstractContextManager[LockHolder]:
        """Hold the project for one long job; verdicts need no lock.

        Raises
        ------
        InputError
            On entering, if another job holds it.
        """
        return writer_lock(self.path / _LOCK_NAME)

    def linear(self, source: str, target: str) -> npt.NDArray[np.float64]:
        """Return the (3, 3) linear part of the way between two spaces by orientations alone."""
        return self._spaces.linear(source, target)

    def stated_linear(self, source: str, target: str) -> npt.NDArray[np.float64] | None:
        """Return `linear`, or None where nobody has said how the two datasets lie."""
        return self._spaces.stated_linear(source, target)

    def rough_linear(
        self, source: str, target: str, n_landmarks: int
    ) -> npt.NDArray[np.float64] | None:
        """Return what a fit to some landmarks leans on; see `ProjectSpaces.rough_linear`."""
        return self._spaces.rough_linear(source, target, n_landmarks)

    def alignment(self, source: str, target: str) -> Alignment | InverseAlignment:
        """Return the current map between two datasets: one, whoever asks.

        It is made from what there is: the orientation, a registration, the accepted pairs,
        and the uncertain matches of the last match that rested on the same pairs;
        ``made_from`` says which, and ``id`` tells it from others.

        Raises
        ------
        InputError
            If a dataset is unknown, both are the same, or the pairs cannot be of two spaces
            in µm.
        """
        return self._spaces.alignment(source, target)

    def keep_alignment(self, alignment: Alignment) -> None:
        """Make an alignment that a match found the current one; see `ProjectSpaces.keep`."""
        self._spaces.keep(alignment)

    def map_points(
        self, points: npt.ArrayLike, source: str, target: str
    ) -> npt.NDArray[np.float64]:
        """Map points of shape (N, 3), µm (z, y, x), between two datasets' spaces."""
        if self.dataset(source).name == target:
            return as_points(points)
        return self.alignment(source, target).map_points(points)

    def crops(
        self,
        dataset: str,
        centers_um: npt.ArrayLike,
        frame: CropFrame | None = None,
        *,
        spec: CropSpec | None = None,
        depth_um: float = 0.0,
        report: Report | None = None,
    ) -> Float32Array:
        """Cut crops at places (N, 3) of a dataset, µm; see `crops.cut_crops`."""
        from napari_neurobridge.project.crops import cut_crops

        return cut_crops(
            self, dataset, centers_um, frame, spec=spec, depth_um=depth_um, report=report
        )
