"""Fine-tuning on a project's own pairs: split, train, compare, and adopt what is better."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from napari_neurobridge import __version__
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_folder
from napari_neurobridge.models.current import current_model
from napari_neurobridge.models.model_folder import ModelFolder
from napari_neurobridge.workflows.adopt import adopt_model, new_version
from napari_neurobridge.workflows.index import load_encoder
from napari_neurobridge.workflows.pair_crops import accepted_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.models.model_folder import ModelCalibration
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.training.comparison import Comparison
    from napari_neurobridge.training.evaluation_report import EvaluationReport
    from napari_neurobridge.training.fine_tune import FineTuneConfig, FineTuneReport
    from napari_neurobridge.types import Report

FEWEST_TO_FINE_TUNE = 6
"""Two to train on, two to choose weights by, and two to compare the models on."""


@dataclass(frozen=True)
class TrainingResult:
    """What came of one run.

    Attributes
    ----------
    model : Path
        Folder of the fine-tuned model, whether better or not.
    before, after : EvaluationReport
        Of the model it started from and of the new one, on the same test pairs.
    comparison : Comparison
        Of the two, pair by pair.
    adopted : bool
        The new one was better; in a project, it is the current model now.
    n_train, n_validation, n_test : int
        Pairs of each part.
    whole_scenes : bool
        False if parts share tissue, so that ``before`` and ``after`` flatter alike.
    best_step : int
        Step whose weights were kept; 0 if none was better on the validation pairs.
    mix : float
        Share of the new weights in those kept.
    seconds : float
        Wall time of this run.
    """

    model: Path
    before: EvaluationReport
    after: EvaluationReport
    comparison: Comparison
    adopted: bool
    n_train: int
    n_validation: int
    n_test: int
    whole_scenes: bool
    best_step: int
    mix: float
    seconds: float


def train_project(
    project: Project,
    config: FineTuneConfig,
    *,
    model: str | None = None,
    backbone: str | None = None,
    epochs: int | None = None,
    out: Path | None = None,
    report: Report | None = None,
) -> TrainingResult:
    """Fine-tune a model on the accepted pairs of a project.

    The new model is written to the project's models as a version of its own (or to
    ``out``). If it is better on the pairs that were held back, the project adopts it.
    Killed at any moment, the same call goes on from the last checkpoint.

    Parameters
    ----------
    project : Project
        Its lock is held meanwhile.
    config : FineTuneConfig
        Strategy and settings; its seed also splits the pairs.
    model : str, optional
        Name or path of the model to start from; the project's current one unless given.
    backbone : str, optional
        A timm backbone with its own weights to start from instead; the rest is random.
    epochs : int, optional
        How often every pair is seen, instead of the steps of ``config``.
    out : Path, optional
        Another folder for the model.
    report : callable, optional
        Called as ``report(done, total, message)``; may raise to cancel.

    Raises
    ------
    InputError
        If there are fewer than six pairs, a dataset has no image, the model cannot be
        read, ``out`` is in use, or another job holds the project.
    """
    encoder = _start(project, model, backbone, config.seed)
    with project.lock():
        pairs = accepted_pairs(project, report=report)
        run = _Run(encoder, pairs, config, epochs, report, uids=_uids(project))
        folder = out or project.models_dir / new_version(project, config.strategy)
        result = run.finish(folder, project.runs_dir / f"train-{run.key}.safetensors")
        # The same training again gives the same weights.
        if result.adopted and ModelFolder.open(folder).hash != current_model(project).hash:
            adopt_model(project, folder, reason="trained on the project's pairs")
    return result


def train_file(
    path: Path,
    out: Path,
    config: FineTuneConfig,
    *,
    model: str | None = None,
    backbone: str | None = None,
    epochs: int | None = None,
    report: Report | None = None,
) -> TrainingResult:
    """Fine-tune a model on a file of pairs, and write it to the folder ``out``.

    See `train_project`; the checkpoint lies beside ``out`` until the run is complete.
    """
    from napari_neurobridge.io.pairs import PairSet

    pairs = PairSet.load(path)
    run = _Run(_start(None, model, backbone, config.seed), pairs, config, epochs, report)
    return run.finish(out, out.with_name(f".{out.name}-{run.key}.safetensors"))


class _Run:
    """One fine-tuning, from pairs to a model folder."""

    def __init__(
        self,
        encoder: Encoder,
        pairs: PairSet,
        config: FineTuneConfig,
        epochs: int | None,
        report: Report | None,
        *,
        uids: Sequence[tuple[str, str]] = (),
    ) -> None:
        from napari_neurobridge.training.splits import check_pairs, split_pairs

        if len(pairs) < FEWEST_TO_FINE_TUNE:
            raise InputError(
                f"Fine-tuning needs at least {FEWEST_TO_FINE_TUNE} pairs and there are "
                f"{len(pairs)}: two to train on, two to choose weights by and two to compare; "
                "accept more pairs."
            )
        check_pairs(pairs, crop_pixels=encoder.config.crop_pixels)
        self._tell: Report = report or _silent
        self._encoder = encoder
        self._split = split_pairs(pairs.scene, seed=config.seed)
        # After a verdict that came in while crops were cut, any of them may have been learned.
        known = len(uids) == len(pairs)
        self._learned = [uids[row] for row in self._split.train] if known else list(uids)
        self._train, self._validation, self._test = (
            pairs.take(part)
            for part in (self._split.train, self._split.validation, self._split.test)
        )
        if epochs is not None:
            batches = math.ceil(len(self._train) / config.neurons)
            config = config.model_copy(update={"steps": epochs * batches})
        self._config = config
        self.key = _digest(encoder, pairs, config)

    def finish(self, folder: Path, checkpoint: Path) -> TrainingResult:
        """Train, compare, and write the model folder; go on from the checkpoint, if any."""
        from napari_neurobridge.encoder.embed import Encoder, save_model
        from napari_neurobridge.insight.evaluation import evaluate
        from napari_neurobridge.training.comparison import compare_models

        _require_new(folder)
        began = time.monotonic()
        origin = f"{self._encoder.name}@{self._encoder.hash}"
        before = evaluate(self._test, self._encoder)
        last = self._fine_tune(checkpoint)
        model = self._encoder.model
        model.config = model.config.model_copy(update={"name": folder.name})
        with atomic_folder(folder) as temporary:
            stored = save_model(model, temporary)
            stored.write_calibration(self._calibration(origin))
            tuned = Encoder.load(temporary)  # as stored, in half precision
            after = evaluate(self._test, tuned)
            comparison = compare_models(before.similarity, after.similarity, self._test.scene)
            result = TrainingResult(
                model=folder,
                before=before.report,
                after=after.report,
                comparison=comparison,
                adopted=comparison.better,
                n_train=len(self._train),
                n_validation=len(self._validation),
                n_test=len(self._test),
                whole_scenes=self._split.whole_scenes,
                best_step=last.best_step,
                mix=last.mix,
                seconds=time.monotonic() - began,
            )
            self._describe(stored, tuned, origin, result)
        checkpoint.unlink(missing_ok=True)
        return result

    def _fine_tune(self, checkpoint: Path) -> FineTuneReport:
        from napari_neurobridge.training.fine_tune import fine_tune

        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        last: FineTuneReport | None = None
        for last in fine_tune(
            self._encoder.model, self._train, self._validation, self._config, checkpoint=checkpoint
        ):
            self._tell(last.step, last.steps, _words(last))
        assert last is not None
        return last

    def _calibration(self, origin: str) -> ModelCalibration:
        """Return what the new model's similarities mean: what those of the old one did.

        The few pairs held back cannot say it better, and those that it was trained on look
        more alike to it than others do; hence it names them, and matching fits to the rest.
        """
        known = self._encoder.calibration
        learned = tuple(sorted({*known.trained_on, *self._learned}))
        note = ""
        if known.likelihood is not None:
            note = f"What similarities mean is taken over from {origin} and not measured anew."
        return known.model_copy(update={"trained_on": learned, "note": note})

    def _describe(
        self, folder: ModelFolder, encoder: Encoder, origin: str, result: TrainingResult
    ) -> None:
        """Write what a model folder says of itself: fingerprint and card."""
        from napari_neurobridge.training.bundled_encoder import fingerprint
        from napari_neurobridge.training.simulated_data import as_bytes

        crops = as_bytes(self._train.two_photon), as_bytes(self._train.fmost)
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
        card = _CARD.format(
            name=encoder.name,
            hash=encoder.hash,
            origin=origin,
            r=result,
            gain=result.comparison,
            shared="" if result.whole_scenes else _SHARED,
            rows="\n".join(rows),
            config=self._config.model_dump_json(indent=2),
            version=__version__,
            date=datetime.now(UTC).date().isoformat(),
        )
        folder.write_card(card)


def _uids(project: Project) -> list[tuple[str, str]]:
    """Return the uids of the accepted pairs, in the order of `accepted_pairs`."""
    return sorted(project.state().pairs_between(project.in_vivo(), project.ex_vivo()).items())


def _start(project: Project | None, model: str | None, backbone: str | None, seed: int) -> Encoder:
    """Return what training starts from."""
    if backbone is None:
        return load_encoder(project, model)
    import torch

    from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, backbone_config
    from napari_neurobridge.encoder.embed import Encoder

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DualChannelEncoder(backbone_config(backbone))
    return Encoder(network, f"{backbone} {seed}")


def _require_new(folder: Path) -> None:
    """Refuse to write a model over anything: older models are kept."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already; name a new folder for the model.")


def _words(report: FineTuneReport) -> str:
    if report.stage == "features":
        return "running the frozen part"
    return f"fine-tuning, validation {report.best_score:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _digest(encoder: Encoder, pairs: PairSet, config: FineTuneConfig) -> str:
    """Return 16 hex digits that tell runs apart."""
    digest = hashlib.sha256(config.model_dump_json().encode())
    digest.update(encoder.hash.encode())
    for array in (pairs.two_photon, pairs.fmost, pairs.scene):
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def _silent(done: int, total: int, message: str) -> None:
    """Report to nobody."""


_SHARED = """
The pairs come from fewer than three scenes, so that they were split one by one: crops of the
three parts may show the same tissue, and the figures flatter both models.
"""

_CARD = """\
# {name}

Fine-tuned from {origin}. Weights {hash}.

## Data

{r.n_train} pairs to train on, {r.n_validation} to choose the weights by, {r.n_test} for the figures
below alone.
{shared}
## Figures on the pairs held back

| | before | after |
|---|---|---|
{rows}

Gain in reciprocal rank, pair by pair: {gain.gain:+.3f} (80 % interval {gain.interval[0]:+.3f} to
{gain.interval[1]:+.3f}). Weights of step {r.best_step}, mixed with those it started from in the
proportion {r.mix:g}.

## Training

napari-neurobridge {version}, {date}.

    {config}
"""
