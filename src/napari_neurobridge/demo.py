"""The whole program on a simulated project; ``neurobridge demo`` starts it."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import napari
import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel
from qtpy.QtWidgets import QApplication

from napari_neurobridge.errors import InputError, NeuroBridgeError
from napari_neurobridge.matching.ranking import rank_position
from napari_neurobridge.viewer.docks import MATCH
from napari_neurobridge.viewer.readers import open_docks
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.workbench.job_status import JobState, JobStatus
from napari_neurobridge.workbench.sample import SampleFiles, open_sample
from napari_neurobridge.workflows.export import export_tables
from napari_neurobridge.workflows.index import load_encoder, ranking_model
from napari_neurobridge.workflows.match import match_between

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Vec3
    from napari_neurobridge.workbench.session import Notice, Remedy
    from napari_neurobridge.workbench.workbench import Workbench

_WINDOW_PX = (1900, 1100)
_SAME_CELL_UM = 5.0
_PATIENCE_S = 600.0
_N_ACCEPTED = 6


class DemoResult(BaseModel):
    """What the headless demo reports.

    Attributes
    ----------
    top1 : float
        Share of the true pairs, asked at the true two-photon position, whose first
        candidate is the true partner (within 5 µm).
    n_pairs : int
        Accepted pairs that the project holds.
    registration : str or None
        How the volumes were registered; ``None``, since registration is not built yet.
    exports : list of str
        Files written.
    screenshot : str
        Picture of the window.
    """

    top1: float
    n_pairs: int
    registration: str | None
    exports: list[str]
    screenshot: str


@dataclass(frozen=True)
class TruePairs:
    """Cells that are visible on both sides, µm (z, y, x), each of shape (N, 3)."""

    two_photon_um: npt.NDArray[np.float64]
    fmost_um: npt.NDArray[np.float64]

    @classmethod
    def read(cls, path: Path) -> TruePairs:
        """Read the table that ``simulate`` writes."""
        table = pd.read_csv(path)
        both = table[table["in_two_photon"].astype(bool) & table["in_fmost"].astype(bool)]
        two_photon, fmost = (
            both[[f"{name}_{axis}_um" for axis in "zyx"]].to_numpy(dtype=np.float64)
            for name in ("two_photon", "fmost")
        )
        return cls(two_photon, fmost)

    def partner_of(self, two_photon_um: Vec3) -> npt.NDArray[np.float64] | None:
        """Return where the partner of a two-photon cell lies; None when it has none."""
        distances = np.linalg.norm(self.two_photon_um - np.asarray(two_photon_um), axis=1)
        nearest = int(distances.argmin())
        return self.fmost_um[nearest] if distances[nearest] <= _SAME_CELL_UM else None


def main(*, headless: bool, out: Path | None, json_output: bool) -> int:
    """Run the demo.

    Parameters
    ----------
    headless : bool
        Do the whole job without a person, write the results, and end.
    out : Path or None
        Folder for everything; a temporary one by default.
    json_output : bool
        Print the result as one JSON object.

    Returns
    -------
    int
        Exit code.
    """
    _require_display()
    folder = Path(mkdtemp(prefix="neurobridge-demo-")) if out is None else out
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; name a new folder with --out.")
    folder.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer(title="NeuroBridge")
    viewer.window.resize(*_WINDOW_PX)
    open_docks(viewer)
    if not headless:
        open_sample(binding_for(viewer).workbench, folder, on_ready=lambda: _ask_first(viewer))
        napari.run()
        return 0
    try:
        result = run_headless(viewer, folder)
    finally:
        viewer.close()
    sys.stdout.write(result.model_dump_json() + "\n" if json_output else _as_text(result))
    return 0


def _ask_first(viewer: napari.Viewer) -> None:
    """Show the Match dock, and ask about the first cell."""
    binding = binding_for(viewer)
    binding.column.raise_dock(MATCH)
    binding.workbench.questions.next_query()


def run_headless(viewer: napari.Viewer, folder: Path) -> DemoResult:
    """Simulate, detect, index, rank, accept and export through the real docks."""
    workbench = binding_for(viewer).workbench
    files = SampleFiles(folder)
    failures: list[str] = []
    doubts: list[Remedy] = []
    ready: list[bool] = []

    def on_job(status: JobStatus) -> None:
        if status.state is JobState.FAILED:
            failures.append(status.message)

    def on_notice(notice: Notice) -> None:
        if notice.is_error and notice.remedy is not None:
            doubts.append(notice.remedy)
        elif notice.is_error:
            failures.append(notice.text)

    workbench.session.job_changed.connect(on_job)
    workbench.session.notified.connect(on_notice)
    open_sample(workbench, folder, on_ready=lambda: ready.append(True))
    _wait_until(lambda: bool(ready) and workbench.project is not None, failures)

    truth, matches = TruePairs.read(files.truth), workbench.matches
    _ask_first(viewer)
    for _ in range(_N_ACCEPTED):
        _pick_true_partner(workbench, truth, failures)
        workbench.verdicts.accept()
        while doubts:  # the queue asks what is least certain: a true pair may be improbable
            doubts.pop().apply()
    _wait_until(lambda: not matches.updating, failures)
    _ask_about_a_match(workbench, failures)
    _settle(2.0)  # until the canvases show the pair that was picked last
    screenshot = folder / "screenshot.png"
    viewer.window.screenshot(str(screenshot), canvas_only=False, flash=False)

    project = workbench.project
    assert project is not None
    return DemoResult(
        top1=_top1(project, truth),
        n_pairs=len(project.state().pairs),
        registration=None,
        exports=[str(path) for path in export_tables(project, folder / "exports", "csv")],
        screenshot=str(screenshot),
    )


def _pick_true_partner(workbench: Workbench, truth: TruePairs, failures: list[str]) -> None:
    """Ask cell after cell until a true partner is among the candidates, and pick it."""
    questions = workbench.questions
    for _ in range(len(questions.queue())):
        # As a person does who looks at each cell for a while; the demo then always runs alike.
        _wait_until(lambda: not workbench.matches.updating, failures)
        questions.next_query()
        _wait_until(lambda: questions.answer is not None, failures)
        assert questions.query is not None
        assert questions.answer is not None
        partner_um = truth.partner_of(questions.query.center_um)
        if partner_um is None:
            continue
        for candidate in questions.answer.shown:
            if _is_same_cell(candidate.center_um, partner_um):
                questions.choose_soma(candidate.uid)
                return
    raise NeuroBridgeError("No cell of the queue has its true partner among the candidates.")


def _ask_about_a_match(workbench: Workbench, failures: list[str]) -> None:
    """Ask about the most probable pair that nobody has judged, if there is any."""
    questions, claims, project = workbench.questions, workbench.matches.claims(), workbench.project
    assert project is not None
    pairs = () if claims is None else claims.pairs
    waiting = [pair for pair in pairs if not pair.accepted]
    if waiting:
        best = max(waiting, key=lambda pair: pair.probability)
        questions.select(project.in_vivo(), best.in_vivo_uid)
        _wait_until(lambda: questions.answer is not None, failures)
        questions.choose_soma(best.ex_vivo_uid)


def _top1(project: Project, truth: TruePairs) -> float:
    """Return how often the first candidate at a true position is the true partner."""
    encoder = load_encoder(project, ranking_model(project).path)
    match = match_between(project, encoder, project.in_vivo(), project.ex_vivo())
    right = 0
    for two_photon_um, fmost_um in zip(truth.two_photon_um, truth.fmost_um, strict=True):
        z, y, x = two_photon_um.tolist()
        ranking = rank_position(project, encoder, (z, y, x), project.in_vivo(), k=1, match=match)
        right += any(_is_same_cell(first.center_um, fmost_um) for first in ranking.candidates)
    return right / max(len(truth.two_photon_um), 1)


def _is_same_cell(one: npt.ArrayLike, other: npt.ArrayLike) -> bool:
    return bool(np.linalg.norm(np.subtract(one, other)) <= _SAME_CELL_UM)


def _require_display() -> None:
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not has_display:
        raise NeuroBridgeError(
            "There is no display; run 'make demo', or 'xvfb-run -a neurobridge demo --headless'."
        )


def _wait_until(reached: Callable[[], bool], failures: list[str]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not reached():
        QApplication.processEvents()
        time.sleep(0.01)
        if failures:
            raise NeuroBridgeError(failures[0])
        if time.monotonic() > deadline:
            raise NeuroBridgeError("The demo took longer than ten minutes and was stopped.")


def _settle(seconds: float) -> None:
    """Let the canvases draw."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        QApplication.processEvents()
        time.sleep(0.01)


def _as_text(result: DemoResult) -> str:
    lines = [
        f"right at first place: {result.top1:.0%} of the true pairs",
        f"accepted pairs: {result.n_pairs}",
        *(f"wrote {path}" for path in [*result.exports, result.screenshot]),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(headless="--headless" in sys.argv, out=None, json_output=False))
