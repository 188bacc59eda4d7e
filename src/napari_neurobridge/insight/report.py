"""A report of one HTML file: the data, the model, how well it works, and how far to trust it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge import __version__
from napari_neurobridge.insight import figures
from napari_neurobridge.insight.attention import attention_maps
from napari_neurobridge.insight.evaluation import evaluate
from napari_neurobridge.insight.evaluation_figures import EvaluationFigure, draw_evaluation
from napari_neurobridge.insight.report_page import (
    Section,
    facts,
    folded,
    page,
    paragraph,
    picture,
    table,
)
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.matching.proportions import interval_in_percent, interval_in_words
from napari_neurobridge.training.plain_measures import PlainMeasure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.insight.evaluation import Evaluation
    from napari_neurobridge.insight.report_subject import ReportSubject
    from napari_neurobridge.training.evaluation_report import Classification, EvaluationReport
    from napari_neurobridge.types import Float32Array, Report

_LIMITS = (
    "The bundled models are trained on simulation, and this software is not yet validated on a "
    "public pair of real two-photon and fMOST recordings of one brain.",
    "Recall and specificity depend on which wrong combinations are tried: four for each pair, "
    "half of them the most alike. They say nothing about a gallery of thousands of cells.",
    "Intervals are those of drawing other pairs of this kind, and know nothing of a change of "
    "microscope, label or brain.",
)


@dataclass(frozen=True, eq=False)
class _Findings:
    """What a report is about, and what was found."""

    subject: ReportSubject
    encoder: Encoder
    evaluation: Evaluation


def write_report(
    subject: ReportSubject,
    encoder: Encoder,
    path: Path,
    *,
    measures: Sequence[PlainMeasure] = tuple(PlainMeasure),
    card: str = "",
    report: Report | None = None,
) -> Path:
    """Evaluate a model on pairs, and write all figures and facts into one HTML file.

    Parameters
    ----------
    subject : ReportSubject
        The pairs; see `report_subject.project_subject` and `report_subject.file_subject`.
    encoder : Encoder
        The model.
    path : Path
        File to write, such as ``report.html``.
    measures : sequence of PlainMeasure
        Plain measures to compare with, on at most 53 pairs; two of them take a minute.
    card : str
        Text of the model's card.
    report : callable, optional
        Called as ``report(done, total, message)``.

    Returns
    -------
    Path
        The file. It holds its pictures, has no scripts, and asks no network for anything.

    Raises
    ------
    InputError
        If the crops do not fit the model.
    """
    evaluation = evaluate(subject.pairs, encoder, measures=measures, report=report)
    found = _Findings(subject, encoder, evaluation)
    sections = [
        _in_short(found),
        _data(subject),
        _model(encoder, card),
        _retrieval(found),
        _same_or_not(found),
        _similarities(found),
        _map(found),
        _attention(found),
        _pairs(found),
        _limits(subject),
    ]
    lead = f"Made by napari-neurobridge {__version__} on {datetime.now(UTC).date().isoformat()}."
    with atomic_write(path) as temporary:
        temporary.write_text(page(subject.title, lead, sections), encoding="utf-8")
    return path


def _in_short(found: _Findings) -> Section:
    evaluation, candidates = found.evaluation.report, found.evaluation.candidates
    rows = [
        ("pairs", f"{evaluation.n} from {_scenes(evaluation.n_scenes)}"),
        ("candidates of each query", f"{candidates.min()} to {candidates.max()}"),
        *(
            (f"partner among the first {k}", _share(v, evaluation))
            for k, v in evaluation.topk_scene.items()
        ),
        ("median rank of the partner", f"{evaluation.median_rank:g}"),
    ]
    if evaluation.top1_gated is not None:
        gated = _share(evaluation.top1_gated, evaluation)
        text = f"{gated} of {evaluation.gate_candidates:.1f} candidates"
        rows.append(("partner first within 40 µm of the true place", text))
    for name in ("recall", "specificity", "auc"):
        value = getattr(evaluation, name)
        if value is not None:
            rows.append((name.replace("auc", "AUC"), _with_interval(value, evaluation, name)))
    return Section(
        "In short",
        (
            facts(rows),
            paragraph(
                "Candidates are the fMOST cells among these pairs and of the same scene, not the "
                "whole gallery; the fewer they are, the easier the task. Intervals are 95 % "
                "intervals: Wilson's, and for recall, specificity and AUC none narrower than "
                "what resampling the pairs says.",
                kind="hint",
            ),
        ),
    )


def _data(subject: ReportSubject) -> Section:
    parts = [facts(subject.facts)]
    if subject.datasets:
        header, *rows = subject.datasets
        parts.append(table(header, rows, words=len(header) - 1))
    return Section("Data", tuple(parts))


def _model(encoder: Encoder, card: str) -> Section:
    import torch

    config = encoder.config
    size = sum(parameter.numel() for parameter in encoder.model.parameters())
    rows = [
        ("model", f"{encoder.name} ({encoder.hash or 'not saved'})"),
        ("parameters", f"{size / 1e6:.2f} million"),
        ("vector", f"{encoder.dim} numbers, from {config.views} view(s) of a crop"),
        ("channels", config.channels),
        ("crops", f"{config.crop_pixels} × {config.crop_pixels} pixels"),
        (
            "versions",
            f"napari-neurobridge {__version__}, torch {torch.__version__}, "
            f"numpy {np.__version__}, Python {platform.python_version()}",
        ),
    ]
    return Section("Model", (facts(rows), *([folded("The model's card", card)] if card else [])))


def _retrieval(found: _Findings) -> Section:
    caption = (
        f"How often the partner is among the first k of {len(found.evaluation.shown)} candidates; "
        "the plain measures were allowed a search over rotations and shifts. Higher is better."
    )
    examples = (
        "Some pairs, drawn at random: the two-photon cell beside the fMOST cells that the model "
        "finds most alike, with rank and similarity. The partner has a frame; where it is not "
        "among the first five it stands last."
    )
    captions = {EvaluationFigure.TOP_K: caption, EvaluationFigure.BEST_MATCHES: examples}
    return Section("Finding the partner", _drawn(found, captions))


def _drawn(found: _Findings, captions: Mapping[EvaluationFigure, str]) -> tuple[str, ...]:
    """Return figures of the evaluation with what is said of them."""
    drawn = (
        (draw_evaluation(kind, found.evaluation, names=found.subject.names), words)
        for kind, words in captions.items()
    )
    return tuple(picture(figure, words) for figure, words in drawn if figure is not None)


def _same_or_not(found: _Findings) -> Section:
    evaluation = found.evaluation.report
    title = "Same neuron or not"
    if evaluation.confusion is None:
        return Section(title, (paragraph("Four pairs are needed to choose and test a threshold."),))
    caption = (
        "Pairs and four times as many wrong combinations, half of them the most alike by a "
        f"neutral measure; called the same from a similarity of {evaluation.threshold:.3f} on, "
        "which was chosen on other pairs."
    )
    parts = list(_drawn(found, {EvaluationFigure.CONFUSION: caption}))
    if evaluation.own_hard is not None:
        parts.append(_both_negatives(evaluation, evaluation.own_hard))
    return Section(title, tuple(parts))


def _both_negatives(evaluation: EvaluationReport, own: Classification) -> str:
    rows = [
        ("chosen by a neutral measure", evaluation.recall, evaluation.specificity, evaluation.auc),
        ("chosen by the model, as in the paper", own.recall, own.specificity, own.auc),
    ]
    return table(
        ("most alike wrong combinations", "recall", "specificity", "AUC"),
        [(name, *(f"{value:.3f}" for value in values)) for name, *values in rows],
    )


def _similarities(found: _Findings) -> Section:
    captions = {
        EvaluationFigure.HEAT_MAPS: "Every two-photon cell with every fMOST cell; partners are on "
        "the diagonal, which should stand out.",
        EvaluationFigure.DENSITIES: "The less the two densities overlap, the better. AUC: how "
        "often a same pair is more alike than a different one.",
        EvaluationFigure.BOXES: "Quartiles, and 5th to 95th percentile, in units of each measure's "
        "spread over different neurons.",
    }
    return Section("Similarities", _drawn(found, captions))


def _map(found: _Findings) -> Section:
    caption = (
        "Vectors of both sides laid out by t-SNE; short lines are partners that the model puts "
        "together. Only near neighbours mean something on such a map."
    )
    return Section("Map of the embeddings", _drawn(found, {EvaluationFigure.MAP: caption}))


def _attention(found: _Findings) -> Section:
    pairs, evaluation = found.subject.pairs, found.evaluation
    parts = [
        paragraph(
            "Bright places speak for the similarity of the two crops. Grad-CAM by place, "
            "averaged over the views of the model; each map is scaled to its own maximum.",
            kind="hint",
        )
    ]
    for row in _examples(np.diagonal(evaluation.similarity), evaluation.ranks):
        query, candidate = pairs.two_photon[row], pairs.fmost[row]
        names = found.subject.names[row]
        figure = figures.attention_figure(
            query, candidate, attention_maps(found.encoder, query, candidate)
        )
        place = f"{evaluation.ranks[row]} of {evaluation.candidates[row]}"
        caption = f"{' and '.join(names)}: partner ranked {place}."
        parts.append(picture(figure, caption))
    return Section("Where the model looks", tuple(parts))


def _examples(similarity: Float32Array, ranks: npt.NDArray[np.int64]) -> list[int]:
    """Return the most alike pair, the median one, and the one that is ranked worst."""
    order = np.argsort(-similarity)
    chosen = [int(order[0]), int(order[len(order) // 2]), int(ranks.argmax())]
    return list(dict.fromkeys(chosen))


def _pairs(found: _Findings) -> Section:
    evaluation = found.evaluation
    similarities = np.diagonal(evaluation.similarity)
    rows = [
        (*names, f"{similarity:.3f}", str(rank))
        for names, similarity, rank in zip(
            found.subject.names, similarities, evaluation.ranks, strict=True
        )
    ]
    return Section("Pairs", (table(("one", "other", "similarity", "rank"), rows, words=2),))


def _limits(subject: ReportSubject) -> Section:
    return Section(
        "Limits",
        tuple(paragraph(text, kind="limits") for text in (*subject.caveats, *_LIMITS)),
    )


def _scenes(count: int) -> str:
    return f"{count} scene" + ("" if count == 1 else "s")


def _share(value: float, evaluation: EvaluationReport) -> str:
    interval = interval_in_percent(evaluation.interval(value), digits=1)
    return f"{100 * value:.1f} % ({interval})"


def _with_interval(value: float, evaluation: EvaluationReport, name: str) -> str:
    bounds = (evaluation.intervals or {}).get(name)
    interval = "" if bounds is None else f" ({interval_in_words(bounds, digits=3)})"
    return f"{value:.3f}{interval}"
