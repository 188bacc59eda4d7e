"""Fine-tuning on a project's own pairs: split, train, compare, and adopt what is better."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_folder
from napari_neurobridge.models.current import current_model
from napari_neurobridge.models.model_folder import ModelFolder
from napari_neurobridge.models.training_record import TrainingPoint
from napari_neurobridge.workflows.adopt import adopt_model, new_version
from napari_neurobridge.workflows.index import load_encoder
from napari_neurobridge.workflows.training_log import (
    LOG_FILE,
    TrainingLogWriter,
    read_training_log,
)
from napari_neurobridge.workflows.training_set import (
    TrainingSet,
    crop_training_set,
    plan_training,
    split_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.models.model_folder import ModelCalibration
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.training.comparison import Comparison
    from napari_neurobridge.training.evaluation_report import EvaluationReport
    from napari_neurobridge.training.fine_tune import FineTuneConfig, FineTuneReport
    from napari_neurobridge.training.splits import Separation
    from napari_neurobridge.types import Report


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
    audits : Comparison or None
        The same on the random checks outside of the test pairs, whose crops may overlap with
        what was learned; ``None`` for fewer than two.
    adopted : bool
        The new one was better; in a project, it is the current model now.
    n_train, n_validation, n_test : int
        Pairs of each part.
    n_rejected : int
        Rejected candidates that were learned as such.
    n_free : int
        Of the training pairs, those that nobody accepted; see `plan_training`.
    n_left_out : int
        Pairs in no part, because their crops overlap with those of two.
    separation : Separation
        What keeps the test pairs apart from the others.
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
    audits: Comparison | None
    adopted: bool
    n_train: int
    n_validation: int
    n_test: int
    n_rejected: int
    n_free: int
    n_left_out: int
    separation: Separation
    best_step: int
    mix: float
    seconds: float

    @property
    def whole_scenes(self) -> bool:
        """False if parts share tissue, so that ``before`` and ``after`` flatter alike."""
        return self.separation.honest


def train_project(
    project: Project,
    config: FineTuneConfig,
    *,
    model: str | None = None,
    backbone: str | None = None,
    epochs: int | None = None,
    free_labels: bool = False,
    out: Path | None = None,
    report: Report | None = None,
) -> TrainingResult:
    """Fine-tune a model on the accepted pairs of a project.

    The new model is written to the project's models as a version of its own (or to
    ``out``). If it is better on the pairs that were held back, the project adopts it.
    Killed at any moment, the same call goes on from the last checkpoint. What it does is
    written to the log of the project's runs; see `training_log`.

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
    free_labels : bool
        Train on pairs that are claimed from places alone, too; see `plan_training`.
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
    encoder = start_from(project, model, backbone, config.seed)
    with project.lock():
        plan = plan_training(project, seed=config.seed, free_labels=free_labels, report=report)
        data = crop_training_set(project, plan, report=report)
        run = TrainingRun(encoder, data, config, epochs, report)
        folder = out or project.models_dir / new_version(project, config.strategy)
        runs = project.runs_dir
        checkpoint = runs / f"train-{run.key}.safetensors"
        result = run.finish(folder, checkpoint, log=runs / LOG_FILE)
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

    See `train_project`; checkpoint and log lie beside ``out`` until the run is complete.
    """
    from napari_neurobridge.io.pairs import PairSet

    data = split_file(PairSet.load(path), seed=config.seed)
    run = TrainingRun(start_from(None, model, backbone, config.seed), data, config, epochs, report)
    return run.finish_beside(out)


class TrainingRun:
    """One fine-tuning, from pairs to a model folder.

    Parameters
    ----------
    encoder : Encoder
        What it starts from.
    data : TrainingSet
    config : FineTuneConfig
    epochs : int, optional
        Instead of the steps of ``config``.
    report : callable, optional

    Attributes
    ----------
    key : str
        Tells runs apart: one with the same key goes on from the checkpoint of this one.
    """

    def __init__(
        self,
        encoder: Encoder,
        data: TrainingSet,
        config: FineTuneConfig,
        epochs: int | None,
        report: Report | None,
    ) -> None:
        data.check(encoder.config.crop_pixels)
        self._tell: Report = report or _silent
        self._encoder, self._data = encoder, data
        if epochs is not None:
            batches = math.ceil(len(data.train) / config.neurons)
            config = config.model_copy(update={"steps": epochs * batches})
        self._config = config
        self.key = _digest(encoder, data, config)

    def finish_beside(self, folder: Path) -> TrainingResult:
        """As `finish`, with the checkpoint and the log beside the folder until the end."""
        beside = folder.with_name(f".{folder.name}-{self.key}.safetensors")
        log = beside.with_suffix(".jsonl")
        result = self.finish(folder, beside, log=log)
        log.unlink(missing_ok=True)
        return result

    def finish(self, folder: Path, checkpoint: Path, *, log: Path) -> TrainingResult:
        """Train, compare, and write the model folder; go on from the checkpoint, if any."""
        from napari_neurobridge.encoder.embed import Encoder, save_model
        from napari_neurobridge.insight.evaluation import evaluate
        from napari_neurobridge.training.comparison import compare_models
        from napari_neurobridge.workflows.training_card import describe_training

        _require_new(folder)
        began = time.monotonic()
        origin = f"{self._encoder.name}@{self._encoder.hash}"
        test, audits = self._data.test, self._data.audits
        before = evaluate(test, self._encoder)
        audits_before = None if audits is None else _similarity(audits, self._encoder)
        writer = self._begin_log(log, resumes=checkpoint.exists())
        last = self._fine_tune(checkpoint, writer)
        model = self._encoder.model
        model.config = model.config.model_copy(update={"name": folder.name})
        with atomic_folder(folder) as temporary:
            stored = save_model(model, temporary)
            stored.write_calibration(self._calibration(origin))
            tuned = Encoder.load(temporary)  # as stored, in half precision
            after = evaluate(test, tuned)
            compared = compare_models(before.similarity, after.similarity, test.scene)
            checked = None
            if audits is not None and audits_before is not None and len(audits) > 1:
                there = _similarity(audits, tuned)
                checked = compare_models(audits_before, there, audits.scene)
            result = self._result(
                folder, (before.report, after.report), (compared, checked), last, began
            )
            found = read_training_log(log)
            describe_training(
                stored,
                tuned,
                result,
                origin=origin,
                train=self._data.train,
                config=self._config,
                curve=() if found is None else found.points,
            )
        writer.end()
        checkpoint.unlink(missing_ok=True)
        return result

    def _result(
        self,
        folder: Path,
        reports: tuple[EvaluationReport, EvaluationReport],
        comparisons: tuple[Comparison, Comparison | None],
        last: FineTuneReport,
        began: float,
    ) -> TrainingResult:
        data = self._data
        compared, checked = comparisons
        return TrainingResult(
            model=folder,
            before=reports[0],
            after=reports[1],
            comparison=compared,
            audits=checked,
            adopted=compared.better and not (checked is not None and checked.interval[1] < 0),
            n_train=len(data.train),
            n_validation=len(data.validation),
            n_test=len(data.test),
            n_rejected=0 if data.rejected is None else len(data.rejected),
            n_free=data.n_free,
            n_left_out=data.n_left_out,
            separation=data.separation,
            best_step=last.best_step,
            mix=last.mix,
            seconds=time.monotonic() - began,
        )

    def _begin_log(self, path: Path, *, resumes: bool) -> TrainingLogWriter:
        facts = {
            "strategy": str(self._config.strategy),
            "steps": self._config.steps,
            "origin": f"{self._encoder.name}@{self._encoder.hash}",
            "n_train": len(self._data.train),
            "n_validation": len(self._data.validation),
            "n_test": len(self._data.test),
        }
        return TrainingLogWriter(path, self.key, facts, resumes=resumes)

    def _fine_tune(self, checkpoint: Path, log: TrainingLogWriter) -> FineTuneReport:
        from napari_neurobridge.training.fine_tune import fine_tune

        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        last: FineTuneReport | None = None
        for last in fine_tune(
            self._encoder.model,
            self._data.train,
            self._data.validation,
            self._config,
            rejected=self._data.rejected,
            checkpoint=checkpoint,
        ):
            if last.stage == "training":
                log.add(TrainingPoint(step=last.step, loss=last.loss, score=last.score))
            self._tell(last.step, last.steps, _words(last))
        assert last is not None
        return last

    def _calibration(self, origin: str) -> ModelCalibration:
        """Return what the new model's similarities mean: what those of the old one did.

        The few pairs held back cannot say it better, and those that it was trained on look
        more alike to it than others do; hence it names them, and matching fits to the rest.
        """
        known = self._encoder.calibration
        learned = tuple(sorted({*known.trained_on, *self._data.uids}))
        note = ""
        if known.likelihood is not None:
            note = f"What similarities mean is taken over from {origin} and not measured anew."
        return known.model_copy(update={"trained_on": learned, "note": note})


def start_from(
    project: Project | None, model: str | None, backbone: str | None, seed: int
) -> Encoder:
    """Return what training starts from: a model, or a timm backbone with random heads."""
    if backbone is None:
        return load_encoder(project, model)
    import torch

    from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, backbone_config
    from napari_neurobridge.encoder.embed import Encoder

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DualChannelEncoder(backbone_config(backbone))
    return Encoder(network, f"{backbone} {seed}")


def _similarity(pairs: PairSet, encoder: Encoder) -> np.ndarray:
    """Return the similarities of the pairs, (N, N)."""
    similarity: np.ndarray = encoder.embed(pairs.two_photon) @ encoder.embed(pairs.fmost).T
    return similarity


def _require_new(folder: Path) -> None:
    """Refuse to write a model over anything: older models are kept."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already; name a new folder for the model.")


def _words(report: FineTuneReport) -> str:
    if report.stage == "features":
        return "running the frozen part"
    return f"fine-tuning, validation {report.best_score:.3f}"


def _digest(encoder: Encoder, data: TrainingSet, config: FineTuneConfig) -> str:
    """Return 16 hex digits that tell runs apart."""
    digest = hashlib.sha256(config.model_dump_json().encode())
    digest.update(encoder.hash.encode())
    for array in _arrays(data):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _arrays(data: TrainingSet) -> Iterator[np.ndarray]:
    rejected = data.rejected
    parts = [data.train, data.validation, data.test, data.audits]
    for part in [*parts, None if rejected is None else rejected.pairs]:
        if part is not None:
            yield from (part.two_photon, part.fmost, part.scene)
    if rejected is not None:
        yield rejected.neurons


def _silent(done: int, total: int, message: str) -> None:
    """Report to nobody."""
