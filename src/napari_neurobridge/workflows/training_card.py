"""What a fine-tuned model folder says of itself: card, record, fingerprint, and why it is used."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from napari_neurobridge import __version__
from napari_neurobridge.models.training_record import TrainingRecord, write_training_record
from napari_neurobridge.training.splits import Separation

if TYPE_CHECKING:
    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.models.model_folder import ModelFolder
    from napari_neurobridge.models.training_record import TrainingPoint
    from napari_neurobridge.training.fine_tune import FineTuneConfig
    from napari_neurobridge.workflows.train import TrainingResult

SEPARATIONS = {
    Separation.SCENES: "The parts come from different scenes.",
    Separation.BLOCKS: "The three parts lie in blocks so far apart that no crops overlap.",
    Separation.TEST_BLOCK: (
        "The test pairs lie in a block so far from the others that no crops overlap; the field is "
        "too small to keep the validation pairs apart from the training pairs, too."
    ),
    Separation.NONE: (
        "There is too little tissue to keep the parts apart: crops of the three may show the same "
        "tissue, and the figures flatter both models."
    ),
}
"""What keeps the parts apart, in a sentence."""


def fate(result: TrainingResult) -> str:
    """Return why a model is adopted or not, in a sentence."""
    compared, checked = result.comparison, result.audits
    low, high = compared.interval
    told = (
        f"gain in reciprocal rank {compared.gain:+.3f} on {compared.n} test pairs, 80 % interval "
        f"{low:+.3f} to {high:+.3f}"
    )
    if result.adopted:
        return f"Better: {told}."
    if not result.best_step:
        return "Not better: no step of the training helped on the validation pairs."
    if compared.better and checked is not None:
        return (
            f"Not adopted: better on the test pairs, but worse on {checked.n} random checks "
            f"({checked.gain:+.3f})."
        )
    return f"{'Worse' if high < 0 else 'Not clearly better'}: {told}."


def describe_training(
    folder: ModelFolder,
    encoder: Encoder,
    result: TrainingResult,
    *,
    origin: str,
    train: PairSet,
    config: FineTuneConfig,
    curve: tuple[TrainingPoint, ...],
) -> None:
    """Write what a model folder says of itself: fingerprint, card and record.

    Parameters
    ----------
    folder : ModelFolder
    encoder : Encoder
        As it is stored there.
    result : TrainingResult
    origin : str
        Name and hash of the model that it was made from.
    train : PairSet
        What it learned.
    config : FineTuneConfig
    curve : tuple of TrainingPoint
    """
    from napari_neurobridge.io.pairs import as_bytes
    from napari_neurobridge.training.bundled_encoder import fingerprint

    crops = as_bytes(train.two_photon), as_bytes(train.fmost)
    folder.write_fingerprint(fingerprint(encoder, crops))
    rows = [
        f"| {name} | {_number(b)} | {_number(a)} |"
        for name, b, a in (
            ("top-1 in own scene", result.before.topk_scene["1"], result.after.topk_scene["1"]),
            ("recall", result.before.recall, result.after.recall),
            ("specificity", result.before.specificity, result.after.specificity),
            ("AUC", result.before.auc, result.after.auc),
        )
    ]
    now = datetime.now(UTC)
    card = _CARD.format(
        name=encoder.name,
        hash=encoder.hash,
        origin=origin,
        r=result,
        gain=result.comparison,
        others=_others(result),
        apart=SEPARATIONS[result.separation],
        rows="\n".join(rows),
        fate=fate(result),
        config=config.model_dump_json(indent=2),
        version=__version__,
        date=now.date().isoformat(),
    )
    folder.write_card(card)
    record = TrainingRecord(
        origin=origin,
        date=now.isoformat(timespec="seconds"),
        strategy=str(config.strategy),
        n_train=result.n_train,
        n_validation=result.n_validation,
        n_test=result.n_test,
        n_rejected=result.n_rejected,
        n_free=result.n_free,
        separation=str(result.separation),
        top1_before=result.before.topk_scene["1"],
        top1_after=result.after.topk_scene["1"],
        gain=result.comparison.gain,
        gain_interval=result.comparison.interval,
        better=result.adopted,
        reason=fate(result),
        curve=curve,
    )
    write_training_record(folder.path, record)


def _others(result: TrainingResult) -> str:
    """Return what else was learned, or left out, in sentences."""
    said = []
    if result.n_free:
        said.append(
            f"{result.n_free} of the training pairs nobody accepted: they are claimed from the "
            "places of the somata alone."
        )
    if result.n_rejected:
        said.append(f"{result.n_rejected} rejected candidates were learned as other cells.")
    if result.n_left_out:
        said.append(f"{result.n_left_out} pairs were left out, since their crops overlap with two.")
    if result.audits is not None:
        checked = result.audits
        said.append(
            f"On {checked.n} random checks elsewhere the gain is {checked.gain:+.3f} "
            f"({checked.interval[0]:+.3f} to {checked.interval[1]:+.3f})."
        )
    return "\n".join(said)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


_CARD = """\
# {name}

Fine-tuned from {origin}. Weights {hash}.

## Data

{r.n_train} pairs to train on, {r.n_validation} to choose the weights by, {r.n_test} for the figures
below alone. {apart}
{others}

## Figures on the pairs held back

| | before | after |
|---|---|---|
{rows}

Gain in reciprocal rank, pair by pair: {gain.gain:+.3f} (80 % interval {gain.interval[0]:+.3f} to
{gain.interval[1]:+.3f}). Weights of step {r.best_step}, mixed with those it started from in the
proportion {r.mix:g}. {fate}

## Training

napari-neurobridge {version}, {date}.

    {config}
"""
