"""Real planes of both microscopes matched, by coordinates, by images and by both.

No truth is published for any real pair. Known pairs that somebody found by other means ("silver")
are compared with, and what places claim is shown to the pictures alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from napari_neurobridge.benchmarks.contract import BenchmarkResult, ModelParameters
from napari_neurobridge.benchmarks.effort_projects import IN_VIVO, KnownProject, ProjectField
from napari_neurobridge.benchmarks.real_pairs_figure import draw_contact_sheet
from napari_neurobridge.benchmarks.real_pairs_projects import (
    RealSet,
    find_real_sets,
    real_project,
)
from napari_neurobridge.benchmarks.real_pairs_scores import (
    STARTED_RIGHT,
    DecoyFigure,
    Pictures,
    RealTrial,
    Witness,
    claimed_pairs,
    decoy_figures,
    pooled,
    score_match,
)
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.matching.appearance.gallery import index_project
from napari_neurobridge.matching.match_datasets import match_datasets
from napari_neurobridge.project.log.annotate import accept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.matching.decoys import Judging
    from napari_neurobridge.matching.match import Match
    from napari_neurobridge.types import Report

_ANNOTATOR = "benchmark"
_JUDGINGS: tuple[Judging, ...] = ("again", "grown", "grown_same_chance")


class RealPairsParameters(ModelParameters):
    """Which planes, from how many landmarks."""

    folder: Path = Field(
        description="in_vivo.csv, ex_vivo.csv and silver.csv, perhaps in_vivo.tif and "
        "ex_vivo.tif; or folders of these.",
        json_schema_extra={"argument": True, "metavar": "FOLDER"},
    )
    landmarks: tuple[int, ...] = Field(
        (10, 6, 4, 0),
        description="Known pairs that are given; 0: none, and the ex-vivo side is turned by a "
        "random angle.",
    )
    draws: int = Field(5, ge=1, description="Of landmarks, or of angles.")
    fdr: float = Field(0.05, description="Accepted share of false claims.")
    images: bool = Field(True, description="Also by images, where there are two.")
    decoys: bool = Field(True, description="Also count claims in decoys.")
    pixel_um: tuple[float, float] | None = Field(
        None,
        description="Side of a pixel of either image, in the µm of its table; as README.txt says "
        "unless given.",
    )
    figure: Path | None = Field(
        None,
        description="Draw claimed pairs of the last folder with images, from coordinates and most "
        "landmarks, as PNG.",
        json_schema_extra={"metavar": "FILE"},
    )
    seed: int = Field(0, description="Draws landmarks and angles.")


class RealPairsRow(BaseModel, frozen=True):
    """Matches of one pair of planes, from as many landmarks, by the same witnesses."""

    set: str
    n_queries: int
    n_gallery: int
    n_known: int
    n_landmarks: int
    by: str = Field(description="coordinates, or both: coordinates and images.")
    draws: int
    unknown: int = Field(description="Draws in which the program does not know where to begin.")
    started_right: int = Field(
        description=f"Draws in which the first candidate of {STARTED_RIGHT:.0%} is right."
    )
    top1: float = Field(description="Mean of the draws that were matched, as are all below.")
    top1_worst: float
    claimed: float
    coverage: float
    coverage_worst: float
    agreement: float
    agreement_worst: float
    p_partner: float
    pictures: Pictures | None = Field(
        description="Of the claims, mean of the draws; where images did not help to claim."
    )
    n_contradicted: int = Field(
        description="Claims, of all draws, of another partner than the known one; as pictures."
    )
    n_sided: int = Field(
        description="Of these, those whose crop is more like the claimed partner's."
    )
    decoy_again: float | None = Field(description="Share claimed in the worst decoy, of all draws.")
    decoy_grown: float | None
    decoy_same_chance: float | None = Field(
        description="The same, with the chance of a partner that the true gallery taught."
    )
    decoy_worst: str | None = Field(description="Which, of those matched again or grown.")
    wrong_if_absent: float | None = Field(
        description="Share of wrong claims, if cells without a partner are claimed as often as "
        "in decoys with the same chance: what the rate of false claims is to bound."
    )
    decoys: tuple[DecoyFigure, ...]
    seconds: float = Field(description="Of a match.")


class PicturesRow(BaseModel, frozen=True):
    """Pictures alone, asked for the known pairs."""

    set: str
    known_pairs: Pictures


class RealPairsBenchmark(BenchmarkResult):
    """Whether the right neuron is found in real tissue, as far as that can be told."""

    model: str
    fdr: float
    results: tuple[RealPairsRow, ...]
    images_alone: tuple[PicturesRow, ...]
    figure: str | None

    def summary(self) -> str:
        """Return tables."""
        header = (
            "set", "given", "by", "right/unknown/draws", "first (worst)", "claimed",
            "coverage (worst)", "agreement (worst)", "sided", "pictures 40 µm",
            "inside", "relative", "decoys again", "grown", "same chance", "s",
        )  # fmt: skip
        lines = [text_table(header, [_cells(row) for row in self.results])]
        for row in self.images_alone:
            said = row.known_pairs
            lines.append(
                f"{row.set}, images alone, {said.n} known pairs: first within 40 µm "
                f"{said.within_40um:.3f} (by chance {said.chance_40um:.3f}; relative to "
                f"neighbours {said.within_40um_relative:.3f}), of 53 "
                f"{said.among_53:.3f}, of all {said.among_all:.3f}"
            )
        return "\n".join([*lines, *([self.figure] if self.figure else [])])


def run(parameters: RealPairsParameters, *, report: Report | None = None) -> RealPairsBenchmark:
    """Answer the command line."""
    sets = find_real_sets(parameters.folder, parameters.pixel_um)
    if not 0 < parameters.fdr < 1 or min(parameters.landmarks) < 0:
        raise InputError("An FDR lies between 0 and 1, and there are no fewer landmarks than none.")
    seen = parameters.images and any(real.pixel_um for real in sets)
    encoder = parameters.encoder() if seen else None
    with TemporaryDirectory(prefix="neurobridge-benchmark-") as folder:
        fields = [
            _RealField(real, parameters, encoder if real.pixel_um else None, Path(folder), report)
            for real in sets
        ]
        rows = [row for field in fields for row in field.rows()]
        alone = [row for field in fields for row in field.images_alone()]
        drawn = [field.draw() for field in fields if field.encoder is not None]
        for field in fields:
            field.known.project.close()
    return RealPairsBenchmark(
        model="" if encoder is None else f"{encoder.name}@{encoder.hash}",
        fdr=parameters.fdr,
        results=tuple(rows),
        images_alone=tuple(alone),
        figure=str(drawn[-1]) if drawn and drawn[-1] is not None else None,
    )


@dataclass(eq=False)
class _RealField:
    """One pair of planes, and what is asked of it."""

    real: RealSet
    asked: RealPairsParameters
    encoder: Encoder | None
    folder: Path
    report: Report | None

    def __post_init__(self) -> None:
        path = self.folder / f"{self.real.name}.neurobridge"
        self.known = real_project(self.real, path, images=self.encoder is not None)
        self._witness: Witness | None = None
        if self.encoder is not None:
            index_project(self.known.project, self.encoder, report=self.report)
            self._witness = Witness(self.known.project, self.encoder)
        self._shown: tuple[KnownProject, Match] | None = None

    def rows(self) -> list[RealPairsRow]:
        """Match from each number of landmarks, by either witness."""
        encoders = [None] if self.encoder is None else [None, self.encoder]
        return [self._row(count, encoder) for count in self.asked.landmarks for encoder in encoders]

    def images_alone(self) -> list[PicturesRow]:
        """Ask the pictures for the known pairs; nothing without images."""
        said = self._witness and self._witness.rank(sorted(self.known.partner.items()))
        return [] if said is None else [PicturesRow(set=self.real.name, known_pairs=said)]

    def draw(self) -> Path | None:
        """Draw the contact sheet, if that is asked for and anything is claimed."""
        if self.asked.figure is None or self._shown is None:
            return None
        known, match = self._shown
        pairs = claimed_pairs(match, self.asked.fdr)
        return draw_contact_sheet(
            known, pairs, self.asked.figure, title=f"{self.real.name}, from coordinates alone"
        )

    def _row(self, count: int, encoder: Encoder | None) -> RealPairsRow:
        by = "coordinates" if encoder is None else "both"
        trials = []
        for draw in range(self.asked.draws):
            if self.report is not None:
                message = f"{self.real.name} from {count} landmarks, by {by}"
                self.report(draw, self.asked.draws, message)
            trials.append(self._trial(count, draw, encoder))
        state = self.known.project.state()
        return _summarized(
            trials,
            set=self.real.name,
            n_queries=len(state.somata[IN_VIVO]),
            n_gallery=sum(map(len, state.somata.values())) - len(state.somata[IN_VIVO]),
            n_known=len(self.known.partner),
            n_landmarks=count,
            by=by,
        )

    def _trial(self, count: int, draw: int, encoder: Encoder | None) -> RealTrial:
        """Match from one draw of landmarks; from none, turned by one draw of an angle."""
        rng = np.random.default_rng([self.asked.seed, draw])
        with TemporaryDirectory(dir=self.folder) as place:
            known = self._begin(Path(place), count, rng, encoder)
            try:
                return self._matched(known, _given(known, count, rng), encoder)
            finally:
                known.project.close()

    def _matched(self, known: KnownProject, given: set[str], encoder: Encoder | None) -> RealTrial:
        """Match a project, and compare."""
        started = time.perf_counter()
        try:
            match = match_datasets(known.project, encoder, constellation=not given)
        except InputError:
            if given:
                raise
            return RealTrial(known=False)
        found: dict[str, object] = {"seconds": time.perf_counter() - started}
        if encoder is None and self._witness is not None:
            pairs = [pair[:2] for pair in claimed_pairs(match, self.asked.fdr)]
            found |= self._witness.ask(pairs, known.partner)
            self._shown = self._shown or (self.known, match)
        if self.asked.decoys:
            check = match.decoys(self.asked.fdr, judgings=_JUDGINGS)
            found["decoys"] = decoy_figures(check)
        trial = score_match(match, known.partner, given, self.asked.fdr)
        return trial.model_copy(update=found)

    def _begin(
        self, place: Path, count: int, rng: np.random.Generator, encoder: Encoder | None
    ) -> KnownProject:
        if count:
            return ProjectField(self.known).begin(place, rng)
        known = real_project(
            self.real,
            place / "turned.neurobridge",
            images=encoder is not None,
            angle_deg=float(rng.uniform(20, 340)),
        )
        if encoder is not None:
            index_project(known.project, encoder, report=self.report)
        return known


def _given(known: KnownProject, count: int, rng: np.random.Generator) -> set[str]:
    """Accept some of the known pairs, drawn at random."""
    uids = sorted(known.partner)
    if count >= len(uids):
        raise InputError(f"There are no {count} known pairs to give, and others to ask.")
    given = {uids[row] for row in rng.choice(len(uids), count, replace=False)}
    for uid in sorted(given):
        accept(known.project, uid, known.partner[uid], annotator=_ANNOTATOR)
    return given


def _summarized(trials: Sequence[RealTrial], **what: object) -> RealPairsRow:
    matched = [trial for trial in trials if trial.known]

    def of(name: str) -> list[float]:
        values = [getattr(trial, name) for trial in matched]
        return [value for value in values if value is not None] or [0.0]

    decoys = pooled(matched)
    worst = {
        judging: max((row.share for row in decoys if row.judging == judging), default=None)
        for judging in _JUDGINGS
    }
    named = max(
        (row for row in decoys if row.judging != "grown_same_chance"),
        key=lambda row: row.share,
        default=None,
    )
    claimed, absent = float(np.mean(of("claimed"))), 1.0 - float(np.mean(of("p_partner")))
    same = [row for row in decoys if row.judging == "grown_same_chance"]
    chance = sum(row.n_claimed for row in same) / max(sum(row.n_asked for row in same), 1)
    return RealPairsRow(
        draws=len(trials),
        unknown=len(trials) - len(matched),
        started_right=sum(trial.top1 >= STARTED_RIGHT for trial in matched),
        top1=float(np.mean(of("top1"))),
        top1_worst=min(of("top1")),
        claimed=claimed,
        coverage=float(np.mean(of("coverage"))),
        coverage_worst=min(of("coverage")),
        agreement=float(np.mean(of("agreement"))),
        agreement_worst=min(of("agreement")),
        p_partner=1.0 - absent,
        pictures=_mean_pictures([trial.pictures for trial in matched if trial.pictures]),
        n_contradicted=sum(trial.n_contradicted for trial in matched),
        n_sided=sum(trial.n_sided for trial in matched),
        decoy_again=worst["again"],
        decoy_grown=worst["grown"],
        decoy_same_chance=worst["grown_same_chance"],
        decoy_worst=None if named is None else f"{named.decoy}, {named.judging}",
        wrong_if_absent=absent * chance / claimed if same and claimed else None,
        decoys=decoys,
        seconds=float(np.mean(of("seconds"))),
        **what,
    )


def _mean_pictures(said: Sequence[Pictures]) -> Pictures | None:
    if not said:
        return None

    def mean(name: str) -> float | None:
        values = [getattr(one, name) for one in said]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    counts = {name: sum(getattr(one, name) for one in said) for name in ("n", "n_inside")}
    shares = {name: mean(name) for name in Pictures.model_fields if name not in counts}
    return Pictures.model_validate({**counts, **shares})


def _cells(row: RealPairsRow) -> tuple[object, ...]:
    def share(value: float | None) -> str | None:
        return None if value is None else f"{value:.3f}"

    said = row.pictures
    return (
        row.set,
        row.n_landmarks,
        row.by,
        f"{row.started_right}/{row.unknown}/{row.draws}",
        f"{row.top1:.3f} ({row.top1_worst:.3f})",
        share(row.claimed),
        f"{row.coverage:.3f} ({row.coverage_worst:.3f})",
        f"{row.agreement:.3f} ({row.agreement_worst:.3f})",
        None if said is None else f"{row.n_sided}/{row.n_contradicted}",
        None if said is None else share(said.within_40um),
        None if said is None else share(said.within_40um_inside),
        None if said is None else share(said.within_40um_relative),
        share(row.decoy_again),
        share(row.decoy_grown),
        share(row.decoy_same_chance),
        f"{row.seconds:.1f}",
    )
