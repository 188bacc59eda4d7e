"""The consistency module beside its rivals, on matches whose truth is known.

The tissue is deformed by shear waves and bands, never by the thin plates that the module learned
from, turned by any angle up to 90°; mistakes are those of `spoil_matches`, up to 85 % of all.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, Field
from scipy.spatial.transform import Rotation
from sklearn.metrics import precision_recall_curve, roc_auc_score

from napari_neurobridge.benchmarks.contract import BenchmarkParameters, BenchmarkResult
from napari_neurobridge.benchmarks.fields_deformation import DeformationPart, ShearBands, Waves
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.models.current import bundled_verifier
from napari_neurobridge.models.zoo import find_model
from napari_neurobridge.registration.common_frame import LEVELS, common_frame
from napari_neurobridge.registration.gccm import Gccm, load_gccm
from napari_neurobridge.registration.subsets import draw_subsets, mean_over_subsets
from napari_neurobridge.registration.verification import (
    Departure,
    GccmVerifier,
    Magsac,
    MatchVerifier,
    NoVerification,
    Ransac,
    SubsetResidual,
    has_magsac,
)
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.training.match_sets import MatchSet, MatchSetParams, spoil_matches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_neurobridge.types import Report

RECALLS = (0.5, 0.7, 0.8, 0.9)
WRONG = (0.3, 0.5, 0.7, 0.85)
_PLANE_UM, _BLOCK_UM = (0.0, 500.0, 500.0), (150.0, 300.0, 300.0)
_ANGLE_DEG = 90.0
_TIMED_MATCHES, _ROUNDS = 1024, 15

GCCM_FIXED, GCCM_ADAPTIVE, SHARED, NONE = "GCCM", "GCCM, adaptive", "shared map", "none"
RESIDUAL, KERNEL, RANSAC, MAGSAC = "residual, mean", "residual, kernel", "RANSAC", "MAGSAC"


class VerificationParameters(BenchmarkParameters):
    """Which module, and how many matches."""

    dims: Annotated[int, Field(ge=2, le=3)] = Field(2, description="Dimensions: 2 or 3.")
    model: str | None = Field(
        None, description="Name of a consistency module or path of its folder; the bundled one."
    )
    matches: int = Field(400, ge=16, description="Matches of a set.")
    sets: int = Field(6, ge=1, description="Sets for each deformation and share of mistakes.")
    seed: int = Field(100, description="Of the first set; settings were chosen below 100.")


class VerificationRow(BaseModel, frozen=True):
    """One method on the sets of one deformation and share of mistakes."""

    method: str
    deformation: str
    wrong: float | None = Field(description="Share of mistakes; None for all shares together.")
    precision: dict[str, float] = Field(
        description="Highest at this recall or more, one threshold for all sets; of several "
        "settings of a rival, of the best."
    )
    auc: float = Field(
        description="Area under the receiver operating characteristic, likewise of the best."
    )
    seconds: float = Field(description="For one set and one setting.")


class VerificationBenchmark(BenchmarkResult):
    """All methods, and the time of scoring."""

    model: str
    dims: Literal[2, 3]
    matches: int
    sets: int
    threads: int
    subsets: int = Field(description="That were scored for the times.")
    score_ms: float = Field(
        description="Processor time, of all threads together, to score them and take the means; "
        "median of 15."
    )
    draw_ms: float = Field(description="Likewise, to draw them.")
    frame_ms: float = Field(description="Likewise, to find what the matches share.")
    skipped: tuple[str, ...] = Field(description="Rivals that are not installed or not for 3D.")
    rows: tuple[VerificationRow, ...]

    def summary(self) -> str:
        """Return the table, and the times."""
        header = ("deformation", "wrong", "method", *(f"at {r:g}" for r in RECALLS), "AUC", "s")
        lines = [
            (
                row.deformation,
                "all" if row.wrong is None else f"{row.wrong:g}",
                row.method,
                *(f"{row.precision[f'{recall:g}']:.3f}" for recall in RECALLS),
                f"{row.auc:.3f}",
                f"{row.seconds:.3f}",
            )
            for row in self.rows
        ]
        return "\n".join(
            [
                text_table(header, lines),
                f"{self.subsets:,} subsets scored in {self.score_ms:.1f} ms and drawn in "
                f"{self.draw_ms:.1f} ms, after the shared map in {self.frame_ms:.1f} ms "
                f"(processor time, {_TIMED_MATCHES:,} matches).",
            ]
        )


def deformations(dims: int) -> Mapping[str, DeformationPart]:
    """Return the deformations by name; in a plane they stay within it."""
    flat = dims == 2
    return {
        "waves": Waves(rms_um=12.0, wavelength_um=250.0, flat=flat),
        "short waves": Waves(rms_um=7.0, wavelength_um=140.0, flat=flat),
        "bands": ShearBands(slip_um=20.0, width_um=60.0),
    }


def draw_held_out(part: DeformationPart, dims: int, count: int, wrong: float, key: Key) -> MatchSet:
    """Draw matches of a tissue that is deformed in one of the held-out ways.

    Parameters
    ----------
    part : DeformationPart
    dims : int
        2 or 3.
    count : int
        Matches.
    wrong : float
        Share of mistakes.
    key : Key
        Source of all randomness.
    """
    rng = key.rng()
    extent = np.array(_PLANE_UM if dims == 2 else _BLOCK_UM)
    places = rng.uniform(-extent / 2, extent / 2, (count, 3))
    moved = places + part.draw(rng, places)(places)
    angle = np.deg2rad(rng.uniform(-_ANGLE_DEG, _ANGLE_DEG))
    axis = np.array([1.0, 0.0, 0.0]) if dims == 2 else rng.standard_normal(3)
    turn = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()
    true = rng.uniform(0.85, 1.2) * moved @ turn.T
    params = MatchSetParams(wrong=(wrong, wrong), near_um=(6.0, 40.0), patch_um=(50.0, 150.0))
    return spoil_matches(places[:, 3 - dims :], true[:, 3 - dims :], params, rng)


def verifiers(model: Gccm, dims: int) -> dict[str, tuple[MatchVerifier, ...]]:
    """Return the settings of each method; a rival counts with its best at each recall."""
    subsets = model.config.subsets
    found: dict[str, tuple[MatchVerifier, ...]] = {
        GCCM_FIXED: (GccmVerifier(model),),
        GCCM_ADAPTIVE: (GccmVerifier(model, adaptive=True),),
        RESIDUAL: (SubsetResidual(dims, subsets=subsets),),
        KERNEL: tuple(
            SubsetResidual(dims, kernel_um=size, subsets=subsets) for size in (3.0, 5.0, 8.0)
        ),
        SHARED: tuple(Departure(stiffness) for stiffness in range(LEVELS)),
        RANSAC: tuple(
            Ransac(kind, threshold_um=size, trials=300)
            for kind in ("similarity", "affine")
            for size in (8.0, 16.0)
        ),
    }
    if dims == 2 and has_magsac():
        found[MAGSAC] = tuple(Magsac(threshold_um=size) for size in (4.0, 8.0, 16.0))
    return found | {NONE: (NoVerification(),)}


def precision_at(
    scores: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], recall: float
) -> float:
    """Return the highest precision of all thresholds that keep so many of the right matches."""
    precision, reached, _ = precision_recall_curve(right, scores)
    return float(precision[reached >= recall].max())


def benchmark_verification(
    model: Gccm, parameters: VerificationParameters, *, report: Report | None = None
) -> VerificationBenchmark:
    """Score the same matches by all methods, and compare precisions at equal recall."""
    methods = verifiers(model, parameters.dims)
    parts = deformations(parameters.dims)
    rows: list[VerificationRow] = []
    for number, (name, part) in enumerate(parts.items()):
        scored: dict[str, list[list[npt.NDArray[np.float64]]]] = {m: [] for m in methods}
        truth: list[npt.NDArray[np.bool_]] = []
        spent = dict.fromkeys(methods, 0.0)
        for wrong in WRONG:
            key = Key.of(parameters.seed, parameters.dims, number, round(100 * wrong))
            drawn = [
                draw_held_out(part, parameters.dims, parameters.matches, wrong, key.child(row))
                for row in range(parameters.sets)
            ]
            truth.append(np.concatenate([each.right for each in drawn]))
            for method, settings in methods.items():
                began = time.perf_counter()
                scored[method].append(_scores(settings, drawn))
                spent[method] += time.perf_counter() - began
            if report is not None:
                done = number * len(WRONG) + len(truth)
                report(done, len(parts) * len(WRONG), f"{name}, {wrong:.0%} wrong")
        for method, settings in methods.items():
            count = len(settings) * parameters.sets * len(WRONG)
            rows += _rows(method, name, scored[method], truth, spent[method] / count)
    subsets, score_ms, draw_ms, frame_ms = _times(model)
    return VerificationBenchmark(
        model=model.config.name,
        dims=model.config.position_dim,
        matches=parameters.matches,
        sets=parameters.sets,
        threads=torch.get_num_threads(),
        subsets=subsets,
        score_ms=score_ms,
        draw_ms=draw_ms,
        frame_ms=frame_ms,
        skipped=() if MAGSAC in methods else (MAGSAC,),
        rows=tuple(rows),
    )


def _scores(
    settings: Sequence[MatchVerifier], drawn: Sequence[MatchSet]
) -> list[npt.NDArray[np.float64]]:
    """Return the scores of all sets, one after another, by each setting."""
    return [
        np.concatenate([setting.score(each.source_um, each.target_um) for each in drawn])
        for setting in settings
    ]


def _rows(
    method: str,
    deformation: str,
    scored: Sequence[Sequence[npt.NDArray[np.float64]]],
    truth: Sequence[npt.NDArray[np.bool_]],
    seconds: float,
) -> list[VerificationRow]:
    """Return the rows of each share of mistakes, and of all together."""
    shares: list[tuple[float | None, list[int]]] = [(w, [row]) for row, w in enumerate(WRONG)]
    rows = []
    for wrong, chosen in [*shares, (None, list(range(len(WRONG))))]:
        right = np.concatenate([truth[row] for row in chosen])
        settings = [
            np.concatenate([scored[row][setting] for row in chosen])
            for setting in range(len(scored[0]))
        ]
        precision = {
            f"{recall:g}": max(precision_at(scores, right, recall) for scores in settings)
            for recall in RECALLS
        }
        rows.append(
            VerificationRow(
                method=method,
                deformation=deformation,
                wrong=wrong,
                precision=precision,
                auc=max(float(roc_auc_score(right, scores)) for scores in settings),
                seconds=seconds,
            )
        )
    return rows


def _times(model: Gccm) -> tuple[int, float, float, float]:
    """Return how many subsets are scored, and the ms of scoring, drawing and the shared map.

    The processor's time, which does not depend on what else runs.
    """
    generator = torch.Generator().manual_seed(0)
    source = 500 * torch.rand(_TIMED_MATCHES, model.config.position_dim, generator=generator)
    target = source + 5 * torch.randn(source.shape, generator=generator)
    spent, count = [], 0
    with torch.inference_mode():
        for _ in range(_ROUNDS):
            began = [time.process_time()]
            frame = common_frame(source, target, generator)
            began.append(time.process_time())
            subsets = draw_subsets(source, frame.weight, model.config.subsets, generator)
            began.append(time.process_time())
            mean_over_subsets(model(source, frame, subsets).sigmoid(), subsets, len(source))
            began.append(time.process_time())
            spent.append(np.diff(began))
            count = len(subsets)
    framing, drawing, scoring = 1e3 * np.median(spent, axis=0)
    return count, float(scoring), float(drawing), float(framing)


def run(
    parameters: VerificationParameters, *, report: Report | None = None
) -> VerificationBenchmark:
    """Measure, as ``neurobridge benchmark verification`` does."""
    given, dims = parameters.model, parameters.dims
    model = load_gccm(bundled_verifier(dims) if given is None else find_model(given))
    if model.config.position_dim != dims:
        raise InputError(f"'{given}' verifies matches of the other number of dimensions.")
    return benchmark_verification(model, parameters, report=report)
