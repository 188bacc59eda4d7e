"""Making a model folder from simulation alone: the command behind the bundled model.

``python -m napari_neurobridge.training.bundled_encoder --help`` lists its options; the card
in the folder holds the command that made it.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.encoder.dual_channel import with_mask
from napari_neurobridge.encoder.embed import Encoder, save_model
from napari_neurobridge.errors import InputError, NeuroBridgeError
from napari_neurobridge.io.files import atomic_folder
from napari_neurobridge.io.morphology import read_swc_folder
from napari_neurobridge.models.fingerprint import fingerprint_arrays
from napari_neurobridge.training.encoder_card import model_card
from napari_neurobridge.training.encoder_task import (
    BUNDLED_SOURCES,
    RELEASE_SOURCES,
    EncoderTaskConfig,
    compact_task,
    new_encoder,
    release_task,
    train_encoder,
)
from napari_neurobridge.training.evaluation import evaluate_encoder
from napari_neurobridge.training.simulated_data import (
    EVALUATION_CELLS,
    held_out_pairs,
    training_pairs,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.encoder.dual_channel import DualChannelEncoder
    from napari_neurobridge.io.morphology import Reconstruction
    from napari_neurobridge.training.evaluation_report import EvaluationReport
    from napari_neurobridge.training.simulated_data import ByteCrops
    from napari_neurobridge.types import Float32Array, Report

logger = logging.getLogger(__name__)

RECIPES = {
    "bundled": (compact_task, BUNDLED_SOURCES),
    "release": (release_task, RELEASE_SOURCES),
}
FINGERPRINT_CROPS = 500
VALIDATE_EVERY = 250


def make_model_folder(
    out: Path,
    config: EncoderTaskConfig,
    cache: Path,
    *,
    command: str,
    morphologies: Sequence[Reconstruction] = (),
    start: Encoder | None = None,
    report: Report | None = None,
) -> EvaluationReport:
    """Simulate, train, evaluate on held-out scenes, and write the model folder.

    Killed at any moment, the same call goes on from the last checkpoint in ``cache``.

    Parameters
    ----------
    out : Path
        Model folder to write: config.toml, weights.safetensors, card.md, fingerprint.npz.
    config : EncoderTaskConfig
        Data, architecture and training.
    cache : Path
        Folder for simulated shards and the checkpoint.
    command : str
        What the card says reproduces the model.
    morphologies : sequence of Reconstruction
        Real neurons, for the training pairs that want them.
    start : Encoder, optional
        Whose weights to begin with rather than with random ones; it may have no mask yet.
    report : callable, optional
        Called as ``report(done, total, text)``.

    Raises
    ------
    InputError
        If ``start`` is of another architecture.

    Returns
    -------
    EvaluationReport
        Of the folder as written, on the test scenes.
    """
    cache.mkdir(parents=True, exist_ok=True)
    two_photon, fmost, scene = training_pairs(
        config.sources, cache, morphologies=morphologies, report=report
    )
    checkpoint = cache / f"{config.encoder.name}-checkpoint.safetensors"
    began = time.monotonic()
    model = new_encoder(config) if start is None else started_from(start, config)
    validation = held_out_pairs(config.validation_seeds, config.held_out_level)
    for step in train_encoder(model, two_photon, fmost, scene, config, checkpoint=checkpoint):
        logger.info("step %d of %d, loss %.4f", step.step, step.steps, step.loss)
        if step.step % VALIDATE_EVERY == 0:
            top1 = evaluate_encoder(Encoder(model, ""), validation).topk_scene["1"]
            logger.info("top-1 of %d in validation scenes: %.3f", EVALUATION_CELLS, top1)
        if report is not None:
            report(step.step, step.steps, f"training, loss {step.loss:.3f}")
    minutes = (time.monotonic() - began) / 60
    with atomic_folder(out) as folder:
        # Of several poses the first, as the level has it.
        sides = (two_photon, fmost) if fmost.ndim == 3 else (two_photon[:, 0], fmost[:, 0])
        return write_model_folder(
            folder,
            model,
            config,
            sides,
            command=command,
            minutes=minutes,
            start=start,
        )


def started_from(start: Encoder, config: EncoderTaskConfig) -> DualChannelEncoder:
    """Return a network of a task's architecture with the weights of another model.

    Raises
    ------
    InputError
        If they do not fit.
    """
    model = new_encoder(config)
    known = start.model
    if config.encoder.mask and not known.config.mask:
        known = with_mask(known)
    try:
        model.load_state_dict(known.state_dict())
    except RuntimeError as error:
        raise InputError(
            f"The weights of {start.name!r} do not fit the architecture that is to be trained."
        ) from error
    return model


def write_model_folder(
    folder: Path,
    model: DualChannelEncoder,
    config: EncoderTaskConfig,
    training_crops: tuple[ByteCrops, ByteCrops],
    *,
    command: str,
    minutes: float,
    start: Encoder | None = None,
) -> EvaluationReport:
    """Write a model folder, but for the calibration, which is measured later.

    Returns the evaluation of the weights as they were stored.
    """
    stored = save_model(model, folder)
    encoder = Encoder.load(folder)
    stored.write_fingerprint(fingerprint(encoder, training_crops))
    evaluation = evaluate_encoder(encoder, held_out_pairs(config.test_seeds, config.held_out_level))
    card = model_card(encoder, config, evaluation, command=command, minutes=minutes, start=start)
    stored.write_card(card)
    return evaluation


def fingerprint(encoder: Encoder, crops: tuple[ByteCrops, ByteCrops]) -> dict[str, np.ndarray]:
    """Return what the model was trained on, as features, so that the data is not needed.

    Max-pooled trunk features of up to 500 evenly spaced training crops of each side,
    ``two_photon`` and ``fmost``, as
    :func:`napari_neurobridge.models.fingerprint.fingerprint_arrays` lays them out.
    """
    sides = {}
    for side, values in zip(("two_photon", "fmost"), crops, strict=True):
        chosen = np.linspace(0, len(values) - 1, min(FINGERPRINT_CROPS, len(values))).astype(int)
        sides[side] = encoder.trunk_features(_as_float(values[chosen]))
    return fingerprint_arrays(sides)


def _as_float(crops: ByteCrops) -> Float32Array:
    return crops.astype(np.float32) / np.float32(255)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line of this module; return the exit code."""
    parser = argparse.ArgumentParser(description="Train the bundled encoder on simulation.")
    parser.add_argument("--out", type=Path, default=Path("models/compact"))
    parser.add_argument("--cache", type=Path, required=True, help="folder for pairs and checkpoint")
    parser.add_argument(
        "--morphologies", type=Path, required=True, help="folder of SWC reconstructions"
    )
    parser.add_argument("--um-per-unit", type=float, default=1.0, help="unit of the SWC files")
    parser.add_argument(
        "--recipe",
        choices=sorted(RECIPES),
        default="bundled",
        help="settings: those of the bundled model, or of its next release, which wants a GPU",
    )
    parser.add_argument("--start", type=Path, help="model folder whose weights to begin with")
    parser.add_argument(
        "--share", type=float, default=1.0, help="part of the pairs to simulate, for a trial"
    )
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    try:
        evaluation = make_model_folder(
            options.out,
            _config(options),
            options.cache,
            command=_command(options),
            morphologies=read_swc_folder(options.morphologies, um_per_unit=options.um_per_unit),
            start=Encoder.load(options.start) if options.start else None,
        )
    except NeuroBridgeError as error:
        logger.error("%s", error)
        return error.exit_code
    sys.stdout.write(evaluation.model_dump_json(indent=2) + "\n")
    return 0


def _config(options: argparse.Namespace) -> EncoderTaskConfig:
    """Return the settings of a recipe, with a part of its pairs if that is wanted."""
    task, sources = RECIPES[options.recipe]
    if not 0 < options.share <= 1:
        raise InputError(f"A share of the pairs is above 0 and at most 1, not {options.share:g}.")
    fewer = [
        source.model_copy(update={"pairs": max(1, round(source.pairs * options.share))})
        for source in sources
    ]
    return task(steps=options.steps, sources=fewer, seed=options.seed)


def _command(options: argparse.Namespace) -> str:
    """Return what the card says reproduces the model, without the folders of this machine."""
    words = ["python -m napari_neurobridge.training.bundled_encoder --out models/compact"]
    if options.recipe != "bundled":
        words.append(f"--recipe {options.recipe}")
    if options.start:
        words.append(f"--start {options.start.name}")
    if options.share < 1:
        words.append(f"--share {options.share:g}")
    words.append(f"--cache CACHE --morphologies DIR --um-per-unit {options.um_per_unit:g}")
    words.append(f"--steps {options.steps} --seed {options.seed}")
    return " ".join(words)


if __name__ == "__main__":
    sys.exit(main())
