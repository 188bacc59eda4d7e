"""What a few pairs make of a model, by every strategy and ablation of paper 1."""

from __future__ import annotations

import copy
import hashlib
import json
import time
import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias
from zipfile import BadZipFile

import numpy as np
import torch
from pydantic import BaseModel, Field

from napari_neurobridge import __version__
from napari_neurobridge.benchmarks.few_shot_adapters import Adapter, adapted_similarity
from napari_neurobridge.encoder.dual_channel import DualChannelEncoder
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.encoder.strategies import Ablation, Strategy
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.pairs import as_bytes
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.training.encoder_task import compact_task, train_encoder
from napari_neurobridge.training.fine_tune import FineTuneConfig, fine_tune
from napari_neurobridge.training.plain_measures import (
    PlainMeasure,
    PoseRange,
    band_passed,
    plain_similarity,
)
from napari_neurobridge.training.validation import validation_score

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.benchmarks.few_shot_data import FewShotData
    from napari_neurobridge.encoder.dual_channel import EncoderConfig
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.types import Float32Array, Report

GENERIC_STEPS = 200
"""Steps from random weights: more than fine-tuning gets, as there is all to learn."""

_GENERIC_VALIDATE_EVERY = 25


class Configuration(BaseModel, frozen=True, extra="forbid"):
    """One row of the comparison: what is done with 190 pairs.

    Configurations that differ in name only are trained once.
    """

    strategy: Strategy = Field(description="What fine-tuning changes.")
    ablation: Ablation = Field(Ablation.NONE, description="What of the method is left out.")
    generic: bool = Field(False, description="Start from a generic initialisation.")


FULL_METHOD = "dual-channel"
ZERO_SHOT = "zero-shot"
GENERIC = "generic initialisation"

_PLAIN_STRATEGIES = {
    "linear": Strategy.LINEAR,
    "partial": Strategy.PARTIAL,
    "lora-4": Strategy.LORA_4,
    "lora-8": Strategy.LORA_8,
    "lora-16": Strategy.LORA_16,
    "full": Strategy.FULL,
}

CONFIGURATIONS: dict[str, Configuration] = {
    ZERO_SHOT: Configuration(strategy=Strategy.FROZEN),
    # Paper 1 sets these beside its whole method, mining included (table 3-8). All keep both
    # channels and learn by the same loss, from all pairs of a batch.
    **{
        name: Configuration(strategy=strategy, ablation=Ablation.NO_MINER)
        for name, strategy in _PLAIN_STRATEGIES.items()
    },
    FULL_METHOD: Configuration(strategy=Strategy.DUAL_CHANNEL),
    "no-miner": Configuration(strategy=Strategy.FULL, ablation=Ablation.NO_MINER),
    "triplet": Configuration(strategy=Strategy.DUAL_CHANNEL, ablation=Ablation.TRIPLET),
    "local-only": Configuration(strategy=Strategy.FULL, ablation=Ablation.LOCAL_ONLY),
    "global-only": Configuration(strategy=Strategy.FULL, ablation=Ablation.GLOBAL_ONLY),
    GENERIC: Configuration(strategy=Strategy.DUAL_CHANNEL, generic=True),
}
"""All rows that learn, in the order of the table; "full" and "no-miner" are one training."""

LEARNING_RATES = (1e-4, 3e-4, 1e-3)
"""What a sweep tries: fine-tuning's own, and two higher ones."""


class PlainConfiguration(BaseModel, frozen=True, extra="forbid"):
    """A row that does not learn: a plain measure and the poses it may try."""

    measure: PlainMeasure
    search: PoseRange = Field(PoseRange(), description="Shifts are in pixels of a full crop.")
    band_passed: bool = Field(False, description="Compare standardised, band-passed crops.")

    @property
    def name(self) -> str:
        """Name of the row."""
        return f"{self.measure.value}, band-passed" if self.band_passed else self.measure.value


class AdapterConfiguration(BaseModel, frozen=True, extra="forbid"):
    """A row that adapts the model and leaves its weights."""

    adapter: Adapter


Method: TypeAlias = Configuration | PlainConfiguration | AdapterConfiguration


@dataclass(frozen=True, eq=False)
class Compared:
    """What one method says of the pairs of one split.

    Attributes
    ----------
    validation, test : ndarray, shape (30, 30) and (53, 53)
        Similarity of every two-photon with every fMOST crop.
    seconds : float
        Time to train and to compare.
    steps : int
        Updates after which the weights were best; 0 where nothing was learned.
    learning_rate : float or None
        That of those weights, if rates were swept and one of them did better than none.
    """

    validation: Float32Array
    test: Float32Array
    seconds: float
    steps: int
    learning_rate: float | None = None


@dataclass(frozen=True, eq=False)
class Bench:
    """What all methods of a comparison share.

    Attributes
    ----------
    encoder : Encoder
        Where fine-tuning starts.
    generic : EncoderConfig
        Architecture of the generic initialisation; its weights are random, or timm's where
        the configuration says so.
    folder : Path
        Results are kept here.
    steps : int or None
        Most steps of fine-tuning, where not the default.
    sweep : bool
        Whether each row that is fine-tuned tries `LEARNING_RATES` on the first split, and learns
        by the one that did best on its validation pairs from then on; otherwise by
        fine-tuning's own.
    """

    encoder: Encoder
    generic: EncoderConfig
    folder: Path
    steps: int | None = None
    sweep: bool = False

    def compare(
        self,
        method: Method,
        data: FewShotData,
        level: str,
        report: Report,
        *,
        rate: float | None = None,
    ) -> Compared:
        """Let a method learn and compare, or read what it said before.

        Parameters
        ----------
        method : Configuration or PlainConfiguration
        data : FewShotData
        level : str
            Level of the data, which with the split says what it is.
        report : callable
            Called as ``report(done, total, text)``; may raise to cancel. What was
            finished is kept, and training resumes from its checkpoint.
        rate : float, optional
            Learning rate that the first split's sweep chose.
        """
        rates = self._rates(method, data.split, rate)
        about = self._identity(method, data.split, level, rates)
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        path = self.folder / f"split-{data.split}-{digest}.json"
        if (known := _read(path)) is not None:
            return known
        if isinstance(method, PlainConfiguration):
            compared = _plain(method, data, report)
        elif isinstance(method, AdapterConfiguration):
            began = time.monotonic()
            both = adapted_similarity(method.adapter, self.encoder, data)
            compared = Compared(*both, time.monotonic() - began, 0)
        else:
            compared = self._learned(method, data, path.with_suffix(".checkpoint"), report, rates)
        _write(path, compared, about)
        return compared

    def tuning(self, method: Configuration, split: int) -> FineTuneConfig:
        """Return the settings of fine-tuning."""
        config = FineTuneConfig(strategy=method.strategy, ablation=method.ablation, seed=split)
        return config if self.steps is None else config.model_copy(update={"steps": self.steps})

    def _identity(
        self, method: Method, split: int, level: str, rates: tuple[float, ...]
    ) -> dict[str, object]:
        """Return all that decides a result, apart from the software."""
        about: dict[str, object] = {
            "version": __version__,
            "method": method.model_dump(mode="json"),
            "level": f"{level} {named_level(level).digest()}",
            "split": split,
        }
        if isinstance(method, PlainConfiguration):
            return about
        if isinstance(method, AdapterConfiguration):
            return about | {"start": f"{self.encoder.name} {self.encoder.hash}"}
        if method.generic:
            start: object = self.generic.model_dump(mode="json") | {"steps": GENERIC_STEPS}
        else:
            start = f"{self.encoder.name} {self.encoder.hash}"
        tuning = self.tuning(method, split).model_dump(mode="json")
        return about | {"start": start, "tuning": tuning} | ({"rates": rates} if rates else {})

    def _rates(self, method: Method, split: int, rate: float | None) -> tuple[float, ...]:
        """Return the learning rates to try; none for fine-tuning's own."""
        # The generic one learns by a recipe of its own.
        own = isinstance(method, Configuration) and not method.generic and learns(method)
        if not (self.sweep and own):
            return ()
        if split == 0:
            return LEARNING_RATES
        return () if rate is None else (rate,)

    def _learned(
        self,
        method: Configuration,
        data: FewShotData,
        checkpoint: Path,
        report: Report,
        rates: tuple[float, ...],
    ) -> Compared:
        began = time.monotonic()
        rate: float | None = None
        if method.generic:
            model, steps = _from_scratch(self.generic, data, report)
        else:
            model, steps, rate = self._tuned(method, data, checkpoint, report, rates)
        tuned = Encoder(model, "")
        validation, test = (
            embedded_similarity(tuned, pairs) for pairs in (data.validation, data.test)
        )
        compared = Compared(validation, test, time.monotonic() - began, steps, rate)
        for left in checkpoint.parent.glob(f"{checkpoint.stem}*{checkpoint.suffix}"):
            left.unlink()
        return compared

    def _tuned(
        self,
        method: Configuration,
        data: FewShotData,
        checkpoint: Path,
        report: Report,
        rates: tuple[float, ...],
    ) -> tuple[DualChannelEncoder, int, float | None]:
        """Fine-tune by each learning rate; return the best weights, their step and rate."""
        if not learns(method):
            return copy.deepcopy(self.encoder.model), 0, None
        usual = self.tuning(method, data.split)
        swept, rates = bool(rates), rates or (usual.learning_rate,)
        found: list[tuple[float, DualChannelEncoder, int, float]] = []
        for index, rate in enumerate(rates):
            model = copy.deepcopy(self.encoder.model)
            # A rate's own file: a checkpoint of other settings is refused.
            path = checkpoint.with_stem(f"{checkpoint.stem}-{rate:g}")
            config = usual.model_copy(update={"learning_rate": rate})
            for state in fine_tune(model, data.train, data.validation, config, checkpoint=path):
                done = index * state.steps + state.step
                report(done, len(rates) * state.steps, state.stage)
            found.append((state.best_score, model, state.best_step, rate))
        _, model, steps, rate = max(found, key=lambda each: each[0])
        return model, steps, rate if swept and steps else None


def learns(method: Method) -> bool:
    """Say whether a method is shown any training pair."""
    if isinstance(method, Configuration):
        return method.generic or method.strategy is not Strategy.FROZEN
    return isinstance(method, AdapterConfiguration)


def chosen_configurations(names: Sequence[str] | None) -> dict[str, Configuration]:
    """Return the configurations of these names, all of them unless any is given.

    Raises
    ------
    InputError
        If a name is unknown, or LoRA is asked for and peft is not installed.
    """
    unknown = sorted(set(names or ()) - set(CONFIGURATIONS))
    if unknown:
        raise InputError(
            f"There is no configuration '{unknown[0]}'; choose from {', '.join(CONFIGURATIONS)}."
        )
    # In the order of the table, whatever the order they are named in.
    chosen = {name: each for name, each in CONFIGURATIONS.items() if not names or name in names}
    lora = [name for name, each in chosen.items() if each.strategy.lora_rank is not None]
    if lora and find_spec("peft") is None:
        # Now rather than in the middle of an hour's work.
        raise InputError(
            f"'{lora[0]}' needs peft; install it with `pip install napari-neurobridge[lora]`, "
            "or name the configurations without it."
        )
    return chosen


def embedded_similarity(encoder: Encoder, pairs: PairSet) -> Float32Array:
    """Compare every two-photon crop with every fMOST crop (N, N) by their embeddings."""
    similarity: Float32Array = encoder.embed(pairs.two_photon) @ encoder.embed(pairs.fmost).T
    return similarity


def _plain(method: PlainConfiguration, data: FewShotData, report: Report) -> Compared:
    began = time.monotonic()
    search = method.search.for_crops(data.test.two_photon.shape[-1])
    validation, test = (
        plain_similarity(
            method.measure,
            *((band_passed(s) if method.band_passed else s) for s in (p.two_photon, p.fmost)),
            search=search,
            report=report,
        )
        for p in (data.validation, data.test)
    )
    return Compared(validation, test, time.monotonic() - began, 0)


def _from_scratch(
    config: EncoderConfig, data: FewShotData, report: Report
) -> tuple[DualChannelEncoder, int]:
    """Train a model from a generic initialisation, by the recipe of the bundled one.

    Fine-tuning would handicap it: its learning rate is for weights that are nearly right,
    and it keeps the statistics of batch normalisation.
    """
    task = compact_task(steps=GENERIC_STEPS, seed=data.split)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(data.split)
        model = DualChannelEncoder(config)
    model = Encoder(model, "").model  # on the best device
    best, best_score, best_step = copy.deepcopy(model.state_dict()), -np.inf, 0
    loop = task.loop.model_copy(update={"report_every": _GENERIC_VALIDATE_EVERY})
    steps = train_encoder(
        model,
        as_bytes(data.train.two_photon),
        as_bytes(data.train.fmost),
        data.train.scene,
        task.model_copy(update={"encoder": config, "loop": loop}),
    )
    for state in steps:
        report(state.step, state.steps, "training")
        # The wrapper evaluates; the loop puts the model back into training mode.
        similarity = embedded_similarity(Encoder(model, ""), data.validation)
        score = validation_score(similarity, data.validation.scene)
        if score > best_score:
            best, best_score, best_step = copy.deepcopy(model.state_dict()), score, state.step
    model.load_state_dict(best)
    return model, best_step


def _write(path: Path, compared: Compared, about: dict[str, object]) -> None:
    with atomic_write(path.with_suffix(".npz")) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(handle, validation=compared.validation, test=compared.test)
    known = {name: getattr(compared, name) for name in ("seconds", "steps", "learning_rate")}
    text = json.dumps(known | {"about": about}, indent=1)
    # Last, since this file says that all is there.
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _read(path: Path) -> Compared | None:
    """Return a finished result, or None if there is none or it is damaged."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
            own = (known["seconds"], known["steps"], known.get("learning_rate"))
            return Compared(arrays["validation"], arrays["test"], *own)
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, zlib.error):
        return None
