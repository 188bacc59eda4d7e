"""What other programs and people found and say, brought into the open project."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.rois.read import RoiReading
from napari_neurobridge.io.rois.suite2p import Kept
from napari_neurobridge.project.log.annotate import judge_together
from napari_neurobridge.workflows.claims import ImportedMatches, import_matches
from napari_neurobridge.workflows.judgements import read_judgements
from napari_neurobridge.workflows.rois import ImportedRois, RoiPlace, import_rois

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_neurobridge.io.tracking import CountedRows
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.events import Event
    from napari_neurobridge.workbench.session import Session


class Imports:
    """Imports regions as somata, and other programs' pairs as claims, in the background.

    Parameters
    ----------
    session : Session
        Where the project lives.
    """

    rois_offered = Signal(object)

    def __init__(self, session: Session) -> None:
        self._session = session

    def offer_rois(self, path: Path) -> None:
        """Ask what to do with dropped ROIs: only a view knows which dataset is meant."""
        self._session.require_project()
        self.rois_offered.emit(path)

    def import_rois(
        self, dataset: str, path: Path, *, pixel_um: str = "", z_um: str = "", every: bool = False
    ) -> None:
        """Add cells that other programs found.

        Parameters
        ----------
        dataset : str
        path : Path
            See `rois.import_rois`.
        pixel_um, z_um : str
            As typed; empty where file and image say it.
        every : bool
            Also what the other program calls no cell.
        """

        def tell(found: ImportedRois) -> None:
            self._session.somata_were_changed(dataset)
            self._session.notify(
                f"imported {len(found.somata)} of {found.n_in_file} ROIs ({found.format}) "
                f"into {dataset}"
            )

        def start() -> None:
            place = RoiPlace(
                pixel_um=_typed_number(pixel_um, "pixel of ROIs"),
                z_um=_typed_number(z_um, "depth of ROIs"),
            )
            add = partial(
                import_rois,
                self._session.require_project(),
                dataset,
                path,
                place=place,
                reading=RoiReading(Kept(every=every)),
                annotator=self._session.annotator,
            )
            self._session.jobs.submit("import ROIs", add, tell, self._session.show_error)

        self._session.attempt(start)

    def import_matches(
        self, path: Path, sessions: Mapping[str, int], counted: CountedRows | None = None
    ) -> None:
        """Add another program's pairs as claims to review; see `claims.import_matches`."""

        def tell(found: ImportedMatches) -> None:
            self._session.verdicts_changed.emit()
            self._session.notify(
                f"{found.n_claims} claims of {found.program} to review; the queue asks about them "
                "first"
            )

        def start() -> None:
            add = partial(
                import_matches,
                self._session.require_project(),
                path,
                sessions,
                counted=counted,
                annotator=self._session.annotator,
            )
            self._session.jobs.submit("import matches", add, tell, self._session.show_error)

        self._session.attempt(start)

    def accept_pairs(self, path: Path) -> None:
        """Record the pairs of a table as verdicts, accepted where it says nothing else.

        All of them are one step of undo; where one contradicts what is recorded, none is.
        """
        annotator = self._session.annotator

        def record(project: Project) -> list[Event]:
            return judge_together(project, read_judgements(project, path), annotator=annotator)

        def tell(events: list[Event]) -> None:
            self._session.verdicts_changed.emit()
            self._session.notify(f"recorded {len(events)} verdicts from {path.name}")

        def start() -> None:
            if path.suffix.lower() != ".csv":
                raise InputError(
                    f"{path.name} is no table of pairs (CSV), so that its pairs can only be "
                    "imported to be reviewed."
                )
            project = self._session.require_project()
            self._session.jobs.submit(
                "import pairs", partial(record, project), tell, self._session.show_error
            )

        self._session.attempt(start)


def _typed_number(text: str, name: str) -> float | None:
    """Return a number that a person typed, None where nothing is typed."""
    if not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        raise InputError(f"'{text}' is no number of µm for the {name}.") from None
