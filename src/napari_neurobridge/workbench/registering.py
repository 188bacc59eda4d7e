"""Two images of the viewer registered, and the result corrected by a person.

Modules that import torch or pandas are imported where they are used, which is in a worker thread:
a dock must not freeze while they load.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.registration.image_matches import lifted
from napari_neurobridge.workbench.native import keep_triton_away_from_mesa
from napari_neurobridge.workflows.register_layers import register_layers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_neurobridge.errors import NeuroBridgeError
    from napari_neurobridge.insight.registration_page import RegisteredPlanes
    from napari_neurobridge.registration.image_matches import PatternMatcher, PlaneMatcher
    from napari_neurobridge.registration.quality import RegistrationDecision
    from napari_neurobridge.spaces.affine import Affine
    from napari_neurobridge.types import Float32Array, Report
    from napari_neurobridge.workbench.session import Session
    from napari_neurobridge.workflows.register_layers import LayerPlane

    Matcher: TypeAlias = PlaneMatcher | PatternMatcher

T = TypeVar("T")

REGISTER_JOB = "register images"
WARP_JOB, WRITE_JOB = "warp image", "write registration"
_REFIT, _PAGE = "refit registration", "registration page"


@dataclass(frozen=True, eq=False)
class VerifiedMatches:
    """Matches above the threshold that nobody has removed.

    Attributes
    ----------
    rows : ndarray of int, shape (K,)
        Which of all matches they are.
    source_um, target_um : ndarray, shape (K, 2)
        Places (y, x) in the two planes.
    confidence : ndarray, shape (K,)
        Geometric consistency C(i, j).
    off_um : ndarray, shape (K,)
        From where the map puts the source's place; NaN without a map.
    agreeing : ndarray of bool, shape (K,)
        Which agree with the map.
    """

    rows: npt.NDArray[np.intp]
    source_um: npt.NDArray[np.float64]
    target_um: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]
    off_um: npt.NDArray[np.float64]
    agreeing: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.rows)


class Registering:
    """Registers two images in the background; matches can be removed, and the threshold moved.

    Parameters
    ----------
    session : Session
    load_matcher : callable, optional
        Returns the matcher; called once, in a worker thread.

    Attributes
    ----------
    planes : RegisteredPlanes or None
        The result as it stands.
    layers : tuple or None
        What the viewer knows the two layers by that the result is of.
    selected : int or None
        Row of the match that is looked at.
    warped : Signal
        Carries the source on the target's pixels, (H, W).
    """

    changed = Signal()
    selected_changed = Signal()
    warped = Signal(object)

    def __init__(self, session: Session, load_matcher: Callable[[], Matcher] | None = None) -> None:
        self._session = session
        self.load_matcher = load_matcher or _default_matcher
        self._matcher: Matcher | None = None
        self._loading = threading.Lock()
        self._first: RegisteredPlanes | None = None
        self._removed: tuple[int, ...] = ()
        self._threshold: float | None = None
        self.planes: RegisteredPlanes | None = None
        self.layers: tuple[object, object] | None = None
        self.selected: int | None = None
        self._kept: npt.NDArray[np.intp] = np.zeros(0, dtype=np.intp)

    # --- registering ---------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether two images are being registered."""
        return REGISTER_JOB in self._session.jobs.running()

    def register(self, source: LayerPlane, target: LayerPlane) -> None:
        """Register two images in the background; the result so far stands until then."""

        def work(report: Report) -> RegisteredPlanes:
            report(0, 0, "loading the models")
            keep_triton_away_from_mesa()
            return register_layers(source, target, self._matcher_once(), report=report)

        def take(planes: RegisteredPlanes) -> None:
            self._take(planes, (source.layer, target.layer))

        self._follow(REGISTER_JOB, work, take, title=f"Register {source.name} to {target.name}")

    def _matcher_once(self) -> Matcher:
        with self._loading:
            if self._matcher is None:
                self._matcher = self.load_matcher()
            return self._matcher

    def _take(self, planes: RegisteredPlanes, layers: tuple[object, object]) -> None:
        self._session.jobs.forget(_REFIT)
        self._first, self.layers = planes, layers
        self._removed, self._threshold = (), None
        self._show(planes)
        self._session.notify("")

    # --- what is known -------------------------------------------------------------------

    @property
    def decision(self) -> RegistrationDecision | None:
        """Whether the map is accepted, and why; None before anything was registered."""
        return None if self.planes is None else self.planes.found.decision

    @property
    def affine(self) -> Affine | None:
        """The map's affine part, accepted or not; None where there is no map."""
        fitted = None if self.planes is None else self.planes.found.fitted
        return None if fitted is None else fitted.affine

    @property
    def threshold(self) -> float:
        """Matches of a higher confidence take part."""
        if self._threshold is not None:
            return self._threshold
        return 0.0 if self._first is None else min(max(self._first.found.matches.threshold, 0), 1)

    @property
    def n_removed(self) -> int:
        """How many matches somebody has removed."""
        return len(self._removed)

    def count(self, threshold: float) -> tuple[int, int]:
        """Return how many matches stay at a threshold, and of how many."""
        if self._first is None:
            return 0, 0
        confidence = self._first.found.matches.confidence[self._rows_left()]
        return int((confidence > threshold).sum()), len(confidence)

    def matches(self) -> VerifiedMatches | None:
        """Return the matches that take part; None before anything was registered."""
        if self.planes is None:
            return None
        found = self.planes.found
        chosen = found.matches.take(found.matches.verified)
        off = np.full(len(chosen), np.nan)
        if found.fitted is not None and len(chosen):
            mapped = found.fitted.transform.map_points(lifted(chosen.source_um))[:, 1:]
            off = np.asarray(np.linalg.norm(mapped - chosen.target_um, axis=1))
        return VerifiedMatches(
            self._kept[found.matches.verified],
            chosen.source_um,
            chosen.target_um,
            chosen.confidence,
            off,
            found.agreeing[found.matches.verified],
        )

    def facts(self) -> tuple[tuple[str, str], ...]:
        """Return the main evidence: what, and how much."""
        if self.planes is None:
            return ()
        known = self.planes.found.evidence
        facts = [("somata", f"{known.n_source} in the source, {known.n_target} in the target")]
        facts += [
            (
                "matches",
                f"{known.n_initial}, {known.n_verified} verified, {known.n_agreeing} agree",
            )
        ]
        if known.kind is not None and known.residual_median_um is not None:
            facts += [("map", f"{known.kind}, {known.residual_median_um:.1f} µm off (median)")]
        if known.angle_deg is not None and known.scale is not None:
            facts += [("turn, scale", f"{known.angle_deg:.1f}°, {known.scale:.3f}")]
        if known.coverage is not None and known.margin is not None:
            words = f"{known.coverage:.0%} of the overlap, {known.margin:.1f} times the best other"
            facts += [("cover, margin", words)]
        return tuple(facts)

    def key_actions(self) -> dict[str, Callable[[], None]]:
        """Return what each key of the Register dock does."""
        return {"Delete": self.remove, "Ctrl+Z": self.undo}

    def usable_keys(self) -> frozenset[str]:
        """Return the keys that would do something now; the others are the viewer's own."""
        usable = {"Delete": self.selected is not None, "Ctrl+Z": bool(self._removed)}
        return frozenset(key for key, does in usable.items() if does)

    # --- correcting ----------------------------------------------------------------------

    def select(self, row: int | None) -> None:
        """Look at a match, or at none."""
        if row != self.selected:
            self.selected = row
            self.selected_changed.emit()

    def remove(self) -> None:
        """Remove the match that is looked at, and fit without it."""
        if self.selected is None or self.selected in self._removed:
            return
        self._removed = (*self._removed, self.selected)
        self.select(None)
        self._refit()

    def undo(self) -> None:
        """Bring back the match that was removed last."""
        if not self._removed:
            self._session.notify("No match was removed.")
            return
        self._removed = self._removed[:-1]
        self._refit()

    def set_threshold(self, threshold: float) -> None:
        """Fit with the matches above another threshold."""
        if self._first is None or threshold == self.threshold:
            return
        self._threshold = float(threshold)
        self._refit()

    def _rows_left(self) -> npt.NDArray[np.intp]:
        assert self._first is not None
        every = np.arange(len(self._first.found.matches))
        return every[~np.isin(every, self._removed)]

    def _refit(self) -> None:
        first, threshold = self._first, self.threshold
        assert first is not None
        kept = np.zeros(len(first.found.matches), dtype=np.bool_)
        kept[self._rows_left()] = True
        as_found = kept.all() and self._threshold is None

        def work() -> RegisteredPlanes:
            from napari_neurobridge.registration.plane_refit import refit_planes

            if as_found:
                return first
            found = refit_planes(
                first.found,
                first.source,
                first.target,
                kept=kept,
                threshold=threshold,
                criteria=first.criteria,
                names=first.names,
            )
            return replace(first, found=found)

        self._session.jobs.submit(_REFIT, work, self._show, self._session.show_error, beside=True)

    def _show(self, planes: RegisteredPlanes) -> None:
        self.planes, self._kept = planes, self._rows_left()
        shown = self.matches()
        assert shown is not None
        if self.selected not in shown.rows:
            self.select(None)
        self.changed.emit()

    # --- using ---------------------------------------------------------------------------

    def warp(self) -> None:
        """Draw the source on the target's pixels, in the background."""

        def start() -> None:
            planes = self._require_accepted()
            transform = planes.found.transform
            assert transform is not None

            def work(report: Report) -> Float32Array:
                from napari_neurobridge.registration.plane_warp import warp_plane

                return warp_plane(
                    planes.source,
                    transform.inverse(),
                    planes.target,
                    name=planes.names[0],
                    report=report,
                )

            def show(pixels: Float32Array) -> None:
                self.warped.emit(pixels)

            self._follow(WARP_JOB, work, show, title=f"Warp {planes.names[0]}")

        self._session.attempt(start, about="warp")

    def write_page(self, path: Path, on_written: Callable[[Path], None]) -> None:
        """Write the quality page, in the background."""

        def start() -> None:
            planes = self._require()

            def done(written: Path) -> None:
                self._session.notify(f"wrote {written}")
                on_written(written)

            def write() -> Path:
                from napari_neurobridge.insight.registration_page import write_registration_page

                return write_registration_page(planes, path)

            self._session.jobs.submit(_PAGE, write, done, self._session.show_error, beside=True)

        self._session.attempt(start, about="registration page")

    def write(self, folder: Path, transform_format: str | None = None) -> None:
        """Write the record, the matches, the quality page and the map, in the background.

        Parameters
        ----------
        folder : Path
            Is made; files of the same names are replaced.
        transform_format : str, optional
            One of `TransformFormat`, for a map that is accepted.
        """

        def start() -> None:
            planes = self._require() if transform_format is None else self._require_accepted()

            def work(report: Report) -> list[Path]:
                from napari_neurobridge.workflows.register_images import (
                    RegistrationOutput,
                    write_registration,
                )

                output = RegistrationOutput(transform_format)
                return write_registration(planes, folder, output, report=report)[0]

            def tell(files: list[Path]) -> None:
                self._session.notify(f"wrote {', '.join(file.name for file in files)} to {folder}")

            self._follow(WRITE_JOB, work, tell, title=f"Write {folder.name}")

        self._session.attempt(start, about="write registration")

    def _require(self) -> RegisteredPlanes:
        if self.planes is None:
            raise InputError("Nothing was registered yet.")
        return self.planes

    def _require_accepted(self) -> RegisteredPlanes:
        planes = self._require()
        if planes.found.transform is None:
            raise InputError(f"The registration is refused: {planes.found.decision.reason}")
        return planes

    def _follow(
        self, name: str, work: Callable[[Report], T], on_done: Callable[[T], None], *, title: str
    ) -> None:
        def refuse(error: NeuroBridgeError) -> None:
            if isinstance(error, Cancelled):
                self._session.notify(f"{title}: cancelled")
            else:
                self._session.show_error(error)

        self._session.jobs.follow(name, work, on_done, refuse, title=title, beside=True)


def _default_matcher() -> Matcher:
    from napari_neurobridge.workflows.register_images import default_matcher

    return default_matcher()
