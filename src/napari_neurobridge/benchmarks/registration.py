"""Registering a two-photon plane with an fMOST slab of held-out scenes, and refusing what is wrong.

The truth is known at every pixel. What the methods are given are the two images and
their pixel size; negatives are another brain, another depth of the same, and a mirror image.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from napari_neurobridge.benchmarks.contract import BenchmarkParameters, BenchmarkResult
from napari_neurobridge.benchmarks.registration_methods import (
    RIGHT_UM,
    MethodOutcome,
    Photographs,
    by_descriptors,
    by_matcher,
    by_neighbours,
    by_pattern,
    planes_of,
)
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.matching.constellation.soma_matcher import SomaMatcher
from napari_neurobridge.registration.aliked import Aliked
from napari_neurobridge.registration.image_registration import register_planes
from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.registration.semantic_matcher import paper_variants
from napari_neurobridge.training.image_tasks import TaskParams, cross_modal_task
from napari_neurobridge.training.scene_volumes import SceneVolumes, cached_scene
from napari_neurobridge.workflows.register_images import default_matcher, semantic_matcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_neurobridge.registration.keypoints import Extractor
    from napari_neurobridge.training.image_tasks import ImageTask
    from napari_neurobridge.types import Report

SIZE_UM = (80.0, 420.0, 420.0)
"""Of a scene; z is the optical axis."""
_NEAR_UM = 5.0
_WHOLE = "the same, refined (what the program does)"
# Images that are turned by no more are matched as they are.
_ALIKE_DEG = 35.0
# Of the planes, far enough from either end for the thickest slab.
_DEPTHS_UM = (14.0, 64.0)
_RELATED, _OTHER_BRAIN, _OTHER_DEPTH, _MIRRORED = (
    "related",
    "another brain",
    "another depth",
    "mirrored",
)


class RegistrationParameters(BenchmarkParameters):
    """Scenes and pairs."""

    scenes: int = Field(6, ge=2, description="Held-out scenes, simulated unless cached.")
    first_seed: int = Field(60_000, description="Of the first; training used 50,000 to 52,000.")
    level: str = Field("paper", description="Difficulty of the simulation.")
    pairs: int = Field(12, ge=1, description="Related pairs, and negatives of each kind.")
    size: int = Field(384, ge=128, le=410, description="Side of an image, µm.")
    angle: float = Field(180.0, ge=0, le=180, description="Largest rotation, degrees.")
    cache: Path | None = Field(None, description="Folder to keep the scenes in.")
    aliked: Path | None = Field(None, description="Weights of aliked-n16rot, for that row.")
    xfeat: Path | None = Field(None, description="XFeat as ONNX, for a row with the next.")
    lighterglue: Path | None = Field(None, description="LighterGlue as ONNX.")
    semantic: bool = Field(False, description="Whether to run the published matcher, too.")
    methods: bool = Field(True, description="Whether to try parts and rivals, too.")
    negatives: bool = Field(True, description="Whether to try what must be refused.")


class MethodRow(BaseModel, frozen=True):
    """One method on the related pairs."""

    method: str
    matched: float = Field(description="Share of the pairs with a map.")
    matches: float = Field(description="Mean number of matches, over all pairs.")
    right: float = Field(description="Mean number that is right within 5 µm.")
    precision: dict[str, float] = Field(description="Share that is right within 3, 5 and 10 µm.")
    tre_mean_um: float | None = Field(description="Mean error where both images show tissue.")
    tre_median_um: float | None = Field(description="Median of the same.")
    seconds: float


class DecisionRow(BaseModel, frozen=True):
    """What was decided of one kind of pairs."""

    kind: str
    pairs: int
    accepted: int
    accepted_within_5um: int | None = Field(description="Accepted with a TRE of 5 µm or less.")
    seconds: float


class RegistrationBenchmark(BenchmarkResult):
    """Methods and decisions."""

    level: str
    scenes: int
    methods: tuple[MethodRow, ...]
    decisions: tuple[DecisionRow, ...]

    def summary(self) -> str:
        """Return two tables."""
        methods = [
            (
                row.method,
                f"{row.matched:.2f}",
                f"{row.matches:.1f}",
                f"{row.right:.1f}",
                *(f"{row.precision[f'{um:g}']:.3f}" for um in RIGHT_UM),
                _number(row.tre_mean_um),
                _number(row.tre_median_um),
                f"{row.seconds:.1f}",
            )
            for row in self.methods
        ]
        header = (
            "method", "with a map", "matches", "right", "3 µm", "5 µm", "10 µm", "TRE mean",
            "TRE median", "s",
        )  # fmt: skip
        decisions = [
            (row.kind, str(row.pairs), str(row.accepted), str(row.accepted_within_5um or "–"))
            for row in self.decisions
        ]
        return "\n\n".join(
            [
                text_table(header, methods),
                text_table(("pairs", "number", "accepted", "within 5 µm"), decisions),
            ]
        )


@dataclass(frozen=True)
class _Decided:
    """What was decided of one pair."""

    accepted: bool
    tre_um: float | None
    seconds: float


def run(
    parameters: RegistrationParameters, *, report: Report | None = None
) -> RegistrationBenchmark:
    """Register all pairs by all methods, and let the negatives be decided.

    Parameters
    ----------
    parameters : RegistrationParameters
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If the level is unknown, or the weights cannot be read.
    """
    matcher = default_matcher()
    with TemporaryDirectory() as folder:
        scenes = [
            cached_scene(
                parameters.first_seed + number,
                parameters.level,
                SIZE_UM,
                parameters.cache or Path(folder),
            )
            for number in range(parameters.scenes)
        ]
    rivals = _rivals(parameters, matcher) if parameters.methods else {}
    alone = SomaMatcher(matcher.extractor, matcher.gccm)
    found: dict[str, list[MethodOutcome]] = {}
    decided: dict[str, list[_Decided]] = {}
    for number in range(parameters.pairs):
        if report is not None:
            report(number, parameters.pairs, "registering held-out scenes")
        drawn = _DrawnImages.of(parameters, scenes, number)
        for name, rival in rivals.items():
            found.setdefault(name, []).append(rival(drawn.related))
        if parameters.methods:
            for name, outcome in _parts(alone, matcher, drawn.related).items():
                found.setdefault(name, []).append(outcome)
        for kind, images in drawn.pairs(negatives=parameters.negatives):
            began = time.perf_counter()
            result = register_planes(*images, matcher)
            seconds = time.perf_counter() - began
            error = None
            if kind == _RELATED:
                outcome = MethodOutcome.of(
                    drawn.related,
                    result.matches.source_um[result.agreeing],
                    result.matches.target_um[result.agreeing],
                    None if result.transform is None else result.transform.map_points,
                    seconds,
                )
                found.setdefault(_WHOLE, []).append(outcome)
                error = None if outcome.tre_um is None else float(outcome.tre_um.mean())
            decided.setdefault(kind, []).append(_Decided(result.decision.accepted, error, seconds))
    return RegistrationBenchmark(
        level=parameters.level,
        scenes=parameters.scenes,
        methods=tuple(_method_row(name, rows) for name, rows in found.items()),
        decisions=tuple(_decision_row(kind, rows) for kind, rows in decided.items()),
    )


def _parts(
    alone: SomaMatcher, matcher: SomaMatcher, related: ImageTask
) -> dict[str, MethodOutcome]:
    """Return what the steps of what the program does find."""
    looked, verified = by_pattern(matcher, related)
    return {
        "somata, pattern": by_pattern(alone, related)[0],
        "the same, and looks": looked,
        "the same, verified by GCCM": verified,
    }


def _rivals(
    asked: RegistrationParameters, matcher: SomaMatcher
) -> dict[str, Callable[[ImageTask], MethodOutcome]]:
    """Return the other methods by their names."""
    extractors: list[Extractor] = [matcher.extractor]
    if asked.aliked is not None:
        extractors.append(Aliked.load(weights=asked.aliked))
    rivals: dict[str, Callable[[ImageTask], MethodOutcome]] = {
        f"{one.name}, nearest, RANSAC": partial(by_descriptors, one) for one in extractors
    }
    rivals["somata, graph of neighbours, RANSAC"] = partial(by_neighbours, matcher)
    if asked.xfeat is not None and asked.lighterglue is not None:
        photographs = Photographs(asked.xfeat, asked.lighterglue)
        rivals["XFeat, LighterGlue (zero-shot), RANSAC"] = photographs.outcome
    if asked.semantic:
        rivals |= _semantic(any_angle=asked.angle > _ALIKE_DEG)
    return rivals


def _semantic(*, any_angle: bool) -> dict[str, Callable[[ImageTask], MethodOutcome]]:
    """Return the published matcher, and where no angle is looked for what it is without parts."""
    whole = semantic_matcher()
    variants = paper_variants(whole.net, whole.extractor, whole.features)
    return {
        name: partial(by_matcher, variant, any_angle=any_angle)
        for name, variant in variants.items()
        if variant.verified or not any_angle
    }


@dataclass(frozen=True)
class _DrawnImages:
    """The images of one number: a related pair, and others that are not."""

    related: ImageTask
    other_brain: ImageTask
    depths: tuple[ImageTask, ImageTask]

    @classmethod
    def of(
        cls, asked: RegistrationParameters, scenes: list[SceneVolumes], number: int
    ) -> _DrawnImages:
        params = TaskParams(
            size_um=asked.size,
            same_side=0.0,
            angle_deg=asked.angle,
            shift_um=20.0,
            scale=(1.0, 1.0),
        )
        thin = params.model_copy(update={"fmost_um": (8.0, 16.0)})
        rng = np.random.default_rng([asked.first_seed, number])
        scene, other = scenes[number % len(scenes)], scenes[(number + 1) % len(scenes)]
        return cls(
            cross_modal_task(scene, rng.uniform(*_DEPTHS_UM), params, rng),
            cross_modal_task(other, rng.uniform(*_DEPTHS_UM), params, rng),
            (
                cross_modal_task(scene, _DEPTHS_UM[0], thin, rng),
                cross_modal_task(scene, _DEPTHS_UM[1], thin, rng),
            ),
        )

    def pairs(self, *, negatives: bool) -> Iterator[tuple[str, tuple[PlanarImage, PlanarImage]]]:
        """Yield each kind of pair and its images."""
        source, target = planes_of(self.related)
        yield _RELATED, (source, target)
        if negatives:
            yield _OTHER_BRAIN, (source, planes_of(self.other_brain)[1])
            yield _OTHER_DEPTH, (planes_of(self.depths[0])[0], planes_of(self.depths[1])[1])
            mirrored = np.ascontiguousarray(target.values[:, ::-1])
            yield _MIRRORED, (source, PlanarImage.of(mirrored, target.pixel_um))


def _method_row(name: str, rows: list[MethodOutcome]) -> MethodRow:
    matches = sum(row.matches for row in rows)
    errors = [row.tre_um for row in rows if row.tre_um is not None]
    right = np.sum([row.right for row in rows], axis=0)
    return MethodRow(
        method=name,
        matched=len(errors) / len(rows),
        matches=matches / len(rows),
        right=float(right[RIGHT_UM.index(5.0)]) / len(rows),
        precision={
            f"{limit:g}": float(count) / max(matches, 1)
            for limit, count in zip(RIGHT_UM, right, strict=True)
        },
        tre_mean_um=float(np.concatenate(errors).mean()) if errors else None,
        tre_median_um=float(np.median(np.concatenate(errors))) if errors else None,
        seconds=float(np.median([row.seconds for row in rows])),
    )


def _decision_row(kind: str, rows: list[_Decided]) -> DecisionRow:
    near = [row.accepted and row.tre_um is not None and row.tre_um <= _NEAR_UM for row in rows]
    return DecisionRow(
        kind=kind,
        pairs=len(rows),
        accepted=sum(row.accepted for row in rows),
        accepted_within_5um=sum(near) if kind == _RELATED else None,
        seconds=float(np.median([row.seconds for row in rows])),
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
