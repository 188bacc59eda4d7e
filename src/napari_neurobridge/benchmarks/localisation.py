"""Planes and stacks of somata found in a whole fMOST volume: where, how long, and what is refused.

What detectors find is drawn (see `localisation_brains`), or found by the feature network in
simulated images of both microscopes.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, Field

from napari_neurobridge.benchmarks.contract import BenchmarkParameters, BenchmarkResult, Level
from napari_neurobridge.benchmarks.localisation_brains import SimulatedBrain
from napari_neurobridge.benchmarks.scene_cost import peak_memory_gb
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.matching.constellation.localise import localise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_neurobridge.benchmarks.localisation_brains import FieldSite
    from napari_neurobridge.types import Report

RIGHT_UM = 10.0


class LocalisationParameters(BenchmarkParameters):
    """How many sites, and of what kind."""

    level: Level = "paper"
    kind: Literal["plane", "stack"] = Field(
        "plane", description="A plane or recording, or a stack of 80 µm."
    )
    volumes: int = Field(5, ge=2, description="Simulated brains.")
    sites: int = Field(4, ge=1, description="Fields of each that are looked for in it.")
    unrelated: int = Field(0, ge=0, description="Fields of each that are looked for in the next.")
    seed: int = Field(100, description="Of the first brain.")
    imaged: bool = Field(
        False,
        description="Image volumes and fields, and detect their somata; drawn unless given.",
    )
    cache: Path | None = Field(None, description="Folder to keep imaged volumes in, 0.7 GB each.")


class LocalisationRow(BaseModel, frozen=True):
    """One field."""

    seed: int
    related: bool = Field(description="Whether the volume holds the field.")
    accepted: bool
    error_um: float | None = Field(
        description="Of the map, median over the field; of refused ones, too, if there is a map."
    )
    evidence_ratio: float | None = Field(description="Of the best map over the best other one.")
    n_source: int
    n_verified: int
    seconds: float
    processor_seconds: float


class LocalisationBenchmark(BenchmarkResult):
    """All fields."""

    level: str
    kind: str
    imaged: bool
    right: float | None = Field(description="Share accepted and within 10 µm, of related fields.")
    wrong: int = Field(description="Accepted, but farther off, or not in the volume at all.")
    refused_unrelated: float | None
    median_error_um: float | None = Field(description="Of what is right.")
    detection_s: float | None = Field(
        description="The longest that finding the somata of an imaged volume took."
    )
    longest_s: float = Field(description="To find a field, without the volume's somata.")
    longest_processor_s: float
    peak_memory_gb: float | None = Field(description="Of the whole process, where it can be told.")
    rows: tuple[LocalisationRow, ...]

    def summary(self) -> str:
        """Return the table, and the shares."""
        header = ("brain", "related", "accepted", "error µm", "ratio", "somata", "s", "processor s")
        lines = [
            (
                str(row.seed),
                "yes" if row.related else "no",
                "yes" if row.accepted else "no",
                "" if row.error_um is None else f"{row.error_um:.1f}",
                "" if row.evidence_ratio is None else f"{row.evidence_ratio:.2f}",
                str(row.n_source),
                f"{row.seconds:.0f}",
                f"{row.processor_seconds:.0f}",
            )
            for row in self.rows
        ]
        right = "none" if self.right is None else f"{self.right:.0%}"
        said = f"{right} right within {RIGHT_UM:g} µm; {self.wrong} wrongly accepted"
        return f"{text_table(header, lines)}\n{said}; at most {self.longest_processor_s:.0f} s."


def run(
    parameters: LocalisationParameters, *, report: Report | None = None
) -> LocalisationBenchmark:
    """Look for fields in the volumes that hold them, and in others."""
    with TemporaryDirectory(prefix="neurobridge-brains-") as folder:
        search = _BrainSearch(parameters, parameters.cache or Path(folder), report)
        rows = list(search.rows())
    related = [row for row in rows if row.related]
    right = [row for row in related if row.accepted and (row.error_um or 0.0) <= RIGHT_UM]
    others = [row for row in rows if not row.related]
    errors = [row.error_um for row in right if row.error_um is not None]
    return LocalisationBenchmark(
        level=parameters.level,
        kind=parameters.kind,
        imaged=parameters.imaged,
        right=len(right) / len(related) if related else None,
        wrong=sum(row.accepted for row in rows) - len(right),
        refused_unrelated=sum(not row.accepted for row in others) / len(others) if others else None,
        median_error_um=float(np.median(errors)) if errors else None,
        detection_s=max(search.detection_s, default=None),
        longest_s=max(row.seconds for row in rows),
        longest_processor_s=max(row.processor_seconds for row in rows),
        peak_memory_gb=peak_memory_gb(),
        rows=tuple(rows),
    )


class _BrainSearch:
    """The brains, one after the other, and what is looked for in each."""

    def __init__(
        self, parameters: LocalisationParameters, cache: Path, report: Report | None
    ) -> None:
        self.parameters, self.cache, self.report = parameters, cache, report
        self.detection_s: list[float] = []

    def rows(self) -> Iterator[LocalisationRow]:
        """Look for each brain's own fields in it, and for those of the brain before."""
        wanted, seed = self.parameters, self.parameters.seed
        each = wanted.sites + wanted.unrelated
        last: list[FieldSite] = []
        if wanted.unrelated:
            before = self._brain(seed + wanted.volumes)
            last = [before.draw_site(wanted.kind) for _ in range(wanted.unrelated)]
        for number in range(wanted.volumes):
            brain = self._brain(seed + number)
            own = [brain.draw_site(wanted.kind) for _ in range(each)]
            for place, site in enumerate([*own[: wanted.sites], *last]):
                if self.report is not None:
                    self.report(number * each + place, wanted.volumes * each, "looking for a field")
                yield _row(brain, site, related=place < wanted.sites)
            last = own[wanted.sites :]

    def _brain(self, seed: int) -> SimulatedBrain:
        if not self.parameters.imaged:
            return SimulatedBrain(self.parameters.level, seed)
        from napari_neurobridge.benchmarks.localisation_images import ImagedBrain  # torch

        brain = ImagedBrain(self.parameters.level, seed, self.cache, report=self.report)
        self.detection_s.append(brain.detection_s)
        return brain


def _row(brain: SimulatedBrain, site: FieldSite, *, related: bool) -> LocalisationRow:
    begin = time.process_time()
    found = localise(
        site.somata_um, brain.gallery_um, orientation=brain.orientation, judge=brain.judge(site)
    )
    return LocalisationRow(
        seed=brain.seed,
        related=related,
        accepted=found.decision.accepted,
        error_um=brain.error_um(site, found) if related else None,
        evidence_ratio=found.evidence.margin,
        n_source=found.evidence.n_source,
        n_verified=found.evidence.n_verified,
        seconds=site.seconds + found.seconds,
        processor_seconds=time.process_time() - begin,
    )
