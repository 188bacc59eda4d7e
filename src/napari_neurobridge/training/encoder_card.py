"""The text of an encoder's card: what it was trained on, how, and how good it is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from napari_neurobridge.training.made_by import made_by

if TYPE_CHECKING:
    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.training.encoder_task import EncoderTaskConfig
    from napari_neurobridge.training.evaluation_report import EvaluationReport
    from napari_neurobridge.training.simulated_data import PairSource


def model_card(
    encoder: Encoder,
    config: EncoderTaskConfig,
    evaluation: EvaluationReport,
    *,
    command: str,
    minutes: float,
    start: Encoder | None = None,
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
        turned=_turned(config),
        extras=f"\n{extras}" if (extras := _extras(config, start)) else "",
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
    poses = f"; {len(source.poses)} crops of each cell: {_poses(source)}" if source.poses else ""
    return f"- {source.pairs:,} pairs of {kind}{tissue}{poses}"


def _turned(config: EncoderTaskConfig) -> float:
    """Return by how much training turned both sides against each other, degrees."""
    posed = [pose for source in config.sources for pose in source.poses if pose is not None]
    return 2 * config.augment.rotation_deg + max((pose.rotation_deg for pose in posed), default=0)


def _poses(source: PairSource) -> str:
    """Say how the fMOST crops of a source lie."""
    posed = [pose for pose in source.poses if pose is not None]
    plain = len(source.poses) - len(posed)
    words = [f"{plain} as the level has it"] if plain else []
    words += [
        f"{count} turned by up to {pose.rotation_deg:g}°, tilted by up to {pose.tilt_deg:g}° and "
        f"up to {pose.depth_um:g} µm off in depth"
        for pose, count in Counter(posed).items()
    ]
    return ", ".join(words)


def _extras(config: EncoderTaskConfig, start: Encoder | None) -> str:
    """Say what a recipe does beyond the paper's, a sentence each."""
    said = {
        f"It began with the weights of {start.name} {start.hash}." if start else "": start,
        "Both channels read a validity mask, which is 0 where a crop leaves the image.": (
            config.encoder.mask
        ),
        f"Dropout of {config.encoder.dropout:g} is in the heads.": config.encoder.dropout,
        "Circle loss compares with the other side only.": config.cross_modal,
        f"The vectors of the last {config.memory} pairs are further negatives.": config.memory,
        f"The weights are their running mean (decay {config.loop.weight_average:g}).": (
            config.loop.weight_average
        ),
    }
    return " ".join(sentence for sentence, wanted in said.items() if wanted)


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
changed in gamma and brightness, made noisier, and deprived of a patch of context.{extras}
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
two-photon axis. Training turned the two sides by up to about {turned:.0f}° against each other and
moved them by a few µm; `neurobridge benchmark robustness` measures how far the model holds.
"""
