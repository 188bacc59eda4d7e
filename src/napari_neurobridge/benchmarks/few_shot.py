"""What a few pairs make of a model, by every strategy and ablation of paper 1."""

from __future__ import annotations

import copy
import hashlib
import json
import time
import zlib
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias
from zipfile import BadZipFile

import numpy as np
import torch
from pydantic import BaseModel, Field

from napari_neurobridge import __version__
from napari_neurobridge.encoder.dual_channel import DualChannelEncoder
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.encoder.strategies import Ablation, Strategy
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.models.fingerprint import unit_rows
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.training.closed_form import best_ridge_map, whitening
from napari_neurobridge.training.encoder_task import compact_task, train_encoder
from napari_neurobridge.training.fine_tune import FineTuneConfig, fine_tune
from napari_neurobridge.training.plain_measures import PlainMeasure, PoseRange, plain_similarity
from napari_neurobridge.training.simulated_data import as_bytes
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

CONFIGURATIONS: dict[str, Configuration] = {
    ZERO_SHOT: Configuration(strategy=Strategy.FROZEN),
    "linear": Configuration(strategy=Strategy.LINEAR),
    "partial": Configuration(strategy=Strategy.PARTIAL),
    "lora-4": Configuration(strategy=Strategy.LORA_4),
    "lora-8": Configuration(strategy=Strategy.LORA_8),
    "lora-16": Configuration(strategy=Strategy.LORA_16),
    # Of both channels it would be the paper's method itself, which is the next row.
    "full": Configuration(strategy=Strategy.FULL, ablation=Ablation.GLOBAL_ONLY),
    FULL_METHOD: Configuration(strategy=Strategy.DUAL_CHANNEL),
    "no-miner": Configuration(strategy=Strategy.DUAL_CHANNEL, ablation=Ablation.NO_MINER),
    "triplet": Configuration(strategy=Strategy.DUAL_CHANNEL, ablation=Ablation.TRIPLET),
    "local-only": Configuration(strategy=Strategy.FULL, ablation=Ablation.LOCAL_ONLY),
    "global-only": Configuration(strategy=Strategy.FULL, ablation=Ablation.GLOBAL_ONLY),
    GENERIC: Configuration(strategy=Strategy.DUAL_CHANNEL, generic=True),
}
"""All rows that learn, in the order of the table; "full" and "global-only" are one."""


class PlainConfiguration(BaseModel, frozen=True, extra="forbid"):
    """A row that does not learn: a plain measure and the poses it may try."""

    measure: PlainMeasure
    search: PoseRange = PoseRange()


class Adapter(StrEnum):
    """What adapts a model's vectors in closed form; the model stays as it is."""

    WHITENING = "whitening"
    RIDGE = "ridge"


class AdapterConfiguration(BaseModel, frozen=True, extra="forbid"):
    """A row that changes the vectors of the model and not its weights."""

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
    """

    validation: Float32Array
    test: Float32Array
    seconds: float
    steps: int


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
    """

    encoder: Encoder
    generic: EncoderConfig
    folder: Path
    steps: int | None = None

    def compare(self, method: Method, data: FewShotData, level: str, report: Report) -> Compared:
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
        """
        about = self._identity(method, data.split, level)
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        path = self.folder / f"split-{data.split}-{digest}.json"
        if (known := _read(path)) is not None:
            return known
        if isinstance(method, PlainConfiguration):
            compared = _plain(method, data, report)
        elif isinstance(method, AdapterConfiguration):
            compared = _adapted(method.adapter, self.encoder, data)
        else:
            compared = self._learned(method, data, path.with_suffix(".checkpoint"), report)
        _write(path, compared, about)
        return compared

    def tuning(self, method: Configuration, split: int) -> FineTuneConfig:
        """Return the settings of fine-tuning."""
        config = FineTuneConfig(strategy=method.strategy, ablation=method.ablation, seed=split)
        return config if self.steps is None else config.model_copy(update={"steps": self.steps})

    def _identity(self, method: Method, split: int, level: str) -> dict[str, object]:
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
        return about | {"start": start, "tuning": tuning}

    def _learned(
        self, method: Configuration, data: FewShotData, checkpoint: Path, report: Report
    ) -> Compared:
        began = time.monotonic()
        if method.generic:
            model, steps = _from_scratch(self.generic, data, report)
        else:
            model, steps = copy.deepcopy(self.encoder.model), 0
            config = self.tuning(method, data.split)
            for state in fine_tune(
                model, data.train, data.validation, config, checkpoint=checkpoint
            ):
                report(state.step, state.steps, state.stage)
                steps = state.best_step
        tuned = Encoder(model, "")
        validation, test = (
            embedded_similarity(tuned, pairs) for pairs in (data.validation, data.test)
        )
        compared = Compared(validation, test, time.monotonic() - began, steps)
        checkpoint.unlink(missing_ok=True)
        return compared


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


def _adapted(adapter: Adapter, encoder: Encoder, data: FewShotData) -> Compared:
    """Whiten each side by the training crops of it, or map one side onto the other."""
    began = time.monotonic()
    train, validation, test = (
        (encoder.embed(pairs.two_photon), encoder.embed(pairs.fmost))
        for pairs in (data.train, data.validation, data.test)
    )
    if adapter is Adapter.WHITENING:
        first, second = (whitening(side) for side in train)
        parts = [first(a) @ second(b).T for a, b in (validation, test)]
    else:
        mapped = best_ridge_map(train, validation, data.validation.scene)
        parts = [unit_rows(a @ mapped) @ b.T for a, b in (validation, test)]
    return Compared(
        parts[0].astype(np.float32), parts[1].astype(np.float32), time.monotonic() - began, 0
    )


def _plain(method: PlainConfiguration, data: FewShotData, report: Report) -> Compared:
    began = time.monotonic()
    validation, test = (
        plain_similarity(
            method.measure, pairs.two_photon, pairs.fmost, search=method.search, report=report
        )
        for pairs in (data.validation, data.test)
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
    text = json.dumps(
        {"seconds": compared.seconds, "steps": compared.steps, "about": about}, indent=1
    )
    # Last, since this file says that all is there.
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _read(path: Path) -> Compared | None:
    """Return a finished result, or None if there is none or it is damaged."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
            return Compared(arrays["validation"], arrays["test"], known["seconds"], known["steps"])
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, zlib.error):
        return None
