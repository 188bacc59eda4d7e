"""The sentences of the Insight dock: what is known, and what to do when nothing is."""

from __future__ import annotations

from napari_neurobridge.insight.evaluation import FEWEST_TO_EVALUATE, Evaluation
from napari_neurobridge.matching.proportions import interval_in_percent, interval_in_words
from napari_neurobridge.training.evaluation_report import FEWEST_TO_CLASSIFY, EvaluationReport
from napari_neurobridge.widgets.insight_plots import Page
from napari_neurobridge.workbench.insights import FEWEST_SHOWN, Insights

_NO_PROJECT = "Open a project in the Data dock, or File ▸ Open Sample ▸ NeuroBridge."
_PRESS_EVALUATE = "Press <b>Evaluate accepted pairs</b>."


def describe(insights: Insights, has_project: bool) -> str:
    """Return the line above the pages: the figures, or how many pairs there are."""
    if not has_project:
        return ""
    count = insights.n_pairs
    if insights.evaluation is None:
        return f"{count} accepted {'pair' if count == 1 else 'pairs'}, not evaluated yet"
    text = _figures(insights.evaluation)
    if insights.is_outdated:
        text += "<br><b>Pairs, orientation or model have changed since; evaluate again.</b>"
    return text


def _figures(evaluation: Evaluation) -> str:
    report, n = evaluation.report, len(evaluation)
    parts = [f"first candidate correct {_share(report, '1')}"]
    if n > 5:
        parts.append(f"among the first five {_share(report, '5')}")
    first = f"<b>{evaluation.model}</b> on {n} pairs: {', '.join(parts)}"
    rates = []
    for name in ("recall", "specificity", "auc"):
        value = getattr(report, name)
        if value is None:
            continue
        bounds = (report.intervals or {}).get(name)
        interval = "" if bounds is None else f" ({interval_in_words(bounds)})"
        rates.append(f"{'AUC' if name == 'auc' else name} {value:.2f}{interval}")
    return "<br>".join([first, " · ".join(rates)] if rates else [first])


def _share(report: EvaluationReport, k: str) -> str:
    return f"{100 * report.topk[k]:.0f} % ({interval_in_percent(report.topk_intervals[k])})"


def nothing_to_show(page: Page, insights: Insights, has_project: bool) -> str:
    """Return what to do so that a page has something to show."""
    if not has_project:
        return _NO_PROJECT
    if insights.progress is not None:
        return "Working …"
    if insights.problem:
        return insights.problem
    if page is Page.ATTENTION:
        return _how_to_explain(insights)
    if page is Page.RELIABILITY:
        return (
            f"{insights.n_audits} of {FEWEST_SHOWN} audit questions answered so far.<br><br>"
            "Every fifth question of the queue in the Match dock is one: a random check."
        )
    if not insights.can_evaluate:
        return (
            f"Accept at least {FEWEST_TO_EVALUATE} pairs in the Match dock: click a two-photon "
            f"cell, pick its partner, press A.<br><br>{insights.n_pairs} so far."
        )
    if insights.evaluation is None:
        return _PRESS_EVALUATE
    if page is Page.BEST_MATCHES:
        return "Hidden: a random check asks about the only pair that there is to show."
    return (
        f"One half of the pairs sets the threshold and the other half is counted, so at least "
        f"{FEWEST_TO_CLASSIFY} pairs are needed; {len(insights.evaluation)} were evaluated."
    )


def _how_to_explain(insights: Insights) -> str:
    if insights.can_explain:
        return "Press <b>Explain the picked candidate</b>."
    return "Click a two-photon cell and pick a candidate in the Match dock, then come back."
