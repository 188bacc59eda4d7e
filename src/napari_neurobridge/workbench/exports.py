"""What leaves the open project: tables, and a figure of the pair in question."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_neurobridge.errors import InputError
from napari_neurobridge.workflows.export import export_table, export_tables, table_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_neurobridge.insight.figures.pair import Picture
    from napari_neurobridge.workbench.questions import Questions
    from napari_neurobridge.workbench.session import Session
    from napari_neurobridge.workbench.snapshot import QuestionSnapshot


class Exports:
    """Writes files in the background, and tells where they are.

    Parameters
    ----------
    session : Session
    questions : Questions
        Which pair is in question.
    """

    def __init__(self, session: Session, questions: Questions) -> None:
        self._session = session
        self._questions = questions

    def tables(self) -> list[str]:
        """Return the names of the tables that the open project has; none without one."""
        project = self._session.project
        return [] if project is None else table_names(project)

    def export_table(self, name: str, path: Path) -> None:
        """Write one table; see `tables` for the names."""

        def write() -> None:
            project = self._session.require_project()
            self._write(lambda: [export_table(project, name, path)])

        self._session.attempt(write)

    def export_tables(self, folder: Path) -> None:
        """Write all tables into a folder."""

        def write() -> None:
            project = self._session.require_project()
            self._write(partial(export_tables, project, folder))

        self._session.attempt(write)

    def export_pair(self, path: Path, canvases: Sequence[Picture]) -> None:
        """Draw the pair in question: both crops, and what both canvases show.

        Parameters
        ----------
        path : Path
            PNG, SVG or PDF, by its suffix.
        canvases : sequence of Picture
            Taken by the viewer.
        """

        def draw() -> None:
            snapshot = self._questions.snapshot
            if snapshot.query is None:
                raise InputError("No cell is asked about; click a two-photon cell first.")
            self._write(partial(_draw_pair, snapshot, tuple(canvases), path))

        self._session.attempt(draw)

    def _write(self, write: Callable[[], list[Path]]) -> None:
        def tell(paths: list[Path]) -> None:
            names = ", ".join(path.name for path in paths)
            self._session.notify(f"wrote {names} to {paths[0].parent}")

        self._session.jobs.submit("export", write, tell, self._session.show_error, beside=True)


def _draw_pair(snapshot: QuestionSnapshot, canvases: Sequence[Picture], path: Path) -> list[Path]:
    """Draw what a snapshot shows, and nothing that an audit hides."""
    from napari_neurobridge.insight.figures.pair import pair_figure
    from napari_neurobridge.insight.figures.style import save_figure

    assert snapshot.query is not None
    names = [snapshot.query.uid or "a place"]
    if snapshot.picked is not None:
        names.append(snapshot.picked.uid)
    title = " and ".join(names)
    chance = _chance_of_picked(snapshot)
    figure = pair_figure(
        _crops(snapshot, names), canvases, title=f"{title}: {chance}" if chance else title
    )
    return [save_figure(figure, path)]


def _chance_of_picked(snapshot: QuestionSnapshot) -> str:
    """Return the probability of the picked candidate in words; empty in an audit."""
    if snapshot.picked is None or snapshot.picked.place is None:
        return ""
    return snapshot.candidates[snapshot.picked.place - 1].chance


def _crops(snapshot: QuestionSnapshot, names: Sequence[str]) -> list[Picture]:
    from napari_neurobridge.insight.figures.pair import Picture
    from napari_neurobridge.io.crops import CropSpec

    crops, picked = snapshot.crops, snapshot.picked
    if crops is None:
        return []
    pixels = [crops.query]
    if picked is not None and picked.place is not None and crops.candidates is not None:
        pixels.append(crops.candidates[picked.place - 1])
    pixel_um = CropSpec().pixel_um
    return [
        Picture(name, crop, pixel_um)
        for name, crop in zip(names, pixels, strict=False)
        if crop is not None
    ]
