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

from napari_neurobridge.encoder.embed import Encoder, save_model
from napari_neurobridge.errors import NeuroBridgeError
from napari_neurobridge.io.files import atomic_folder
from napari_neurobridge.io.morphology import read_swc_folder
from napari_neurobridge.models.fingerprint import fingerprint_arrays
from napari_neurobridge.training.encoder_task import (
    EncoderTaskConfig,
    compact_task,
    new_encoder,
    train_encoder,
)
from napari_neurobridge.training.evaluation import evaluate_encoder
from napari_neurobridge.training.made_by import made_by
from napari_neurobridge.training.simulated_data import (
    EVALUATION_CELLS,
    PairSource,
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

FINGERPRINT_CROPS = 500
VALIDATE_EVERY = 250


def make_model_folder(
    out: Path,
    config: EncoderTaskConfig,
    cache: Path,
    *,
    command: str,
    morphologies: Sequence[Reconstruction] = (),
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
    report : callable, optional
        Called as ``report(done, total, text)``.

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
    model = new_encoder(config)
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
        return write_model_folder(
            folder,
            model,
            config,
            (two_photon, fmost),
            command=command,
            minutes=minutes,
        )


def write_model_folder(
    folder: Path,
    model: DualChannelEncoder,
    config: EncoderTaskConfig,
    training_crops: tuple[ByteCrops, ByteCrops],
    *,
    command: str,
    minutes: float,
) -> EvaluationReport:
    """Write a model folder, but for the calibration, which is measured later.

    Returns the evaluation of the weights as they were stored.
    """
    stored = save_model(model, folder)
    encoder = Encoder.load(folder)
    stored.write_fingerprint(fingerprint(encoder, training_crops))
    evaluation = evaluate_encoder(encoder, held_out_pairs(config.test_seeds, config.held_out_level))
    stored.write_card(model_card(encoder, config, evaluation, command=command, minutes=minutes))
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


def model_card(
    encoder: Encoder,
    config: EncoderTaskConfig,
    evaluation: EvaluationReport,
    *,
    command: str,
    minutes: float,
) -> str:
    """Return the text of card.md: what the model is, where from, how good, how far to trust."""
    parameters = sum(p.numel() for p in encoder.model.parameters())
    return _CARD.format(
        name=encoder.name,
        hash=encoder.hash,
        parameters=parameters / 1e6,
        dim=encoder.dim,
        command=command,
        c=config,
        loop=config.loop,
        change=config.augment,
        sources="\n".join(_source(source) for source in config.sources),
        watched=_range(config.validation_seeds),
        tested=_range(config.test_seeds),
        circle_steps=config.loop.steps - config.contrastive_steps,
        e=evaluation,
        judged_rows=_judged_rows(evaluation),
        minutes=minutes,
        **made_by(),
        scene_row=_row(evaluation.topk_scene),
        random_row=_row(evaluation.topk_53),
        all_row=_row(evaluation.topk),
    )


def _range(seeds: tuple[int, ...]) -> str:
    return f"{min(seeds)} to {max(seeds)}"


def _source(source: PairSource) -> str:
    tissue = ", tissue filled with real reconstructions" if source.reconstructions else ""
    kind = f"level `{source.level}`, first seed {source.first_seed}"
    return f"- {source.pairs:,} pairs of {kind}{tissue}"


def _row(topk: dict[str, float]) -> str:
    return " | ".join(f"{value:.3f}" for value in topk.values())


def _judged_rows(evaluation: EvaluationReport) -> str:
    rows = {
        "cosine, a neutral measure": evaluation,
        "cosine, the model itself": evaluation.own_hard,
        "mutual, a neutral measure": evaluation.mutual.judged,
    }
    return "\n".join(
        f"| {name} | {row.recall:.3f} | {row.specificity:.3f} | {row.auc:.3f} |"
        for name, row in rows.items()
        if row is not None
    )


_CARD = """\
# {name}

A dual-channel encoder (local channel with channel and spatial attention over the soma
window; global channel with a convolution stem, spatial attention and a small timm vision
transformer; a gate; one {dim}-d unit vector), {parameters:.2f} million parameters, stored
as float16. Weights {hash}.

## Data

Simulation only:

{sources}

Shards of 1,920 pairs have consecutive seeds. Scenes of level `{c.held_out_level}`, seeds
{watched}, served to watch the training; those of seeds {tested} were used for
the figures below alone. No real image was used.

## Training

    {command}

{loop.steps} steps of {loop.optimizer}, learning rate {loop.learning_rate} with {loop.schedule}
schedule, weight decay {loop.weight_decay}, seed {loop.seed}. The first {c.contrastive_steps}
steps use InfoNCE (temperature {c.temperature}, {c.contrastive_neurons} neurons per batch),
because circle loss with mined pairs alone learns slowly from random weights; the last
{circle_steps} steps use circle loss (gamma {c.gamma:g}, m {c.margin}) with
MultiSimilarityMiner on balanced batches of {c.neurons} neurons x 2 images, as the paper
does. Augmentation: both sides alike turned by quarter turns and mirrored; each side alone
rotated by up to {change.rotation_deg:g}°, shifted by up to {change.shift_px:g} px, scaled,
changed in gamma and brightness, made noisier, and deprived of a patch of context.
Last run of the training: {minutes:.0f} min on {machine};
napari-neurobridge {version}, torch {torch}, {date}. The data and all random numbers are
fixed by the seeds; floating point results differ slightly between processors.

## Figures on the test scenes

{e.n} pairs from {e.n_scenes} scenes of 53 cells.

| gallery | top-1 | top-5 | top-10 |
|---|---|---|---|
| 53 cells of one scene | {scene_row} |
| 53 random cells | {random_row} |
| all {e.n} cells | {all_row} |

Classification, four negatives per positive, half of them hard (paper 1, section 3.1), threshold
from other scenes:

| similarity, and who chose the hard negatives | recall | specificity | AUC |
|---|---|---|---|
{judged_rows}

## Limits

Trained on simulated crops only, and not yet validated on a public real pair of
two-photon and fMOST data. It expects crops of 120 µm (150 pixels) seen along the
two-photon axis. Training turned the two sides by up to about 20° against each other and
moved them by a few µm; `neurobridge benchmark robustness` measures how far the model holds.
"""


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
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    command = (
        "python -m napari_neurobridge.training.bundled_encoder --out models/compact --cache CACHE "
        f"--morphologies DIR --um-per-unit {options.um_per_unit:g} "
        f"--steps {options.steps} --seed {options.seed}"
    )
    config = compact_task(steps=options.steps, seed=options.seed)
    try:
        evaluation = make_model_folder(
            options.out,
            config,
            options.cache,
            command=command,
            morphologies=read_swc_folder(options.morphologies, um_per_unit=options.um_per_unit),
        )
    except NeuroBridgeError as error:
        logger.error("%s", error)
        return error.exit_code
    sys.stdout.write(evaluation.model_dump_json(indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
