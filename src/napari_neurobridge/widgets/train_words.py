"""What the Train dock says: what a training rests on, what came of it, and each model's line."""

from __future__ import annotations

from napari_neurobridge.training.validation import FEWEST_TO_TELL_CHANCE
from napari_neurobridge.workbench.remedies import explain
from napari_neurobridge.workbench.training import Training
from napari_neurobridge.workflows.training_card import SEPARATIONS
from napari_neurobridge.workflows.training_history import TrainedVersion, TrainingOutlook

_NO_PROJECT = "Open a project in the Data dock."
_COUNTING = "counting the pairs …"


def outlook_in_words(outlook: TrainingOutlook | None, *, has_project: bool) -> str:
    """Return what a training would rest on, or why there is none."""
    if not has_project:
        return _NO_PROJECT
    if outlook is None:
        return _COUNTING
    if outlook.problem is not None:
        return explain(outlook.problem)
    told = (
        f"{_pairs(outlook.n_train)} to train on, {outlook.n_validation} to choose the weights by, "
        f"{outlook.n_test} to compare the models on"
    )
    more = [
        f"{count} {noun}"
        for count, noun in (
            (outlook.n_rejected, "rejected candidates as other cells"),
            (outlook.n_audits, "random checks kept apart"),
            (outlook.n_left_out, "left out because their crops overlap with two parts"),
        )
        if count
    ]
    told = "; ".join([told, *more])
    said = [f"{told}."]
    if outlook.separation is not None:
        said.append(SEPARATIONS[outlook.separation])
    if outlook.n_validation <= FEWEST_TO_TELL_CHANCE:
        said.append("So few pairs cannot tell a gain from chance: accept a dozen or more.")
    return " ".join(said)


def outcome_in_words(training: Training) -> str:
    """Return where the training stands, or what came of it."""
    outcome, stopped = training.outcome, training.stopped_at
    if training.running:
        return ""
    if outcome is not None:
        fate = "Adopted" if outcome.adopted else "Not adopted"
        return (
            f"<b>{fate}: {outcome.model}.</b> Of {_pairs(outcome.n_test)} that no training has "
            f"seen, the right partner came first for {outcome.right_before} before and for "
            f"{outcome.right_after} now. {outcome.reason}"
        )
    if stopped is not None:
        steps = stopped.facts.get("steps", "?")
        return (
            f"A training ({stopped.facts.get('strategy', '?')}) was stopped at step "
            f"{stopped.last_step} of {steps}. With the same choice and pairs, Train goes on "
            "from its last checkpoint; the model in use has not changed."
        )
    return ""


def stale_in_words(training: Training) -> str:
    """Return which model rankings come from meanwhile; empty if from the current one."""
    if not training.stale:
        return ""
    return f"Rankings still come from {training.stale}, until all cells are embedded anew."


def version_in_words(version: TrainedVersion) -> str:
    """Return a model's line in the history."""
    mark = "✔ " if version.is_current else ""
    record = version.record
    if record is None:
        return f"{mark}{version.name}\n   not trained here"
    origin = record.origin.split("@")[0]
    before, after = (f"{100 * share:.0f} %" for share in (record.top1_before, record.top1_after))
    fate = "better" if record.better else "not better"
    return (
        f"{mark}{version.name}, from {origin}, {record.date[:16].replace('T', ' ')}\n"
        f"   {_pairs(record.n_train)}, partner first {before} → {after} of {record.n_test}, {fate}"
    )


def version_tip(version: TrainedVersion) -> str:
    """Return all that is known of a model."""
    record = version.record
    if record is None:
        return "The model that the project started with, or one from elsewhere"
    learned = [_pairs(record.n_train)]
    learned += [f"{record.n_free} of them claimed from places alone"] if record.n_free else []
    learned += [f"{record.n_rejected} rejected candidates"] if record.n_rejected else []
    used = f" In use since {version.adopted[:16]}." if version.adopted else ""
    return f"{record.strategy}; learned {', '.join(learned)}. {record.reason}{used}"


def _pairs(count: int) -> str:
    return f"{count} pair{'' if count == 1 else 's'}"
