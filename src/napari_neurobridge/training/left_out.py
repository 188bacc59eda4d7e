"""Small encoders that have seen every simulated domain but one, for studies of adaptation.

The bundled encoder was trained on all six domains, so that it cannot be what an adaptation to
one of them starts from. These see crops at a third of the pixels and train in a minute or two of
one core; no project uses them. Their heads learn first, on what an untrained trunk gives, since
that costs next to nothing and finds in seconds what all weights together take an hour for.

``python -m napari_neurobridge.training.left_out --help`` makes one; the benchmarks make what
they lack.
"""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_neurobridge.encoder.dual_channel import EncoderConfig
from napari_neurobridge.encoder.embed import Encoder, best_device, save_model
from napari_neurobridge.encoder.global_channel import GlobalConfig
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_folder
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.io.pyramid import downsample
from napari_neurobridge.simulation.levels import DOMAINS
from napari_neurobridge.training.augmentation import AugmentConfig
from napari_neurobridge.training.bundled_encoder import fingerprint
from napari_neurobridge.training.command import command_of, run_task, task_parser
from napari_neurobridge.training.encoder_task import EncoderTaskConfig, new_encoder, train_encoder
from napari_neurobridge.training.head_views import head_views, view_vectors
from napari_neurobridge.training.loop import LoopConfig, run_through, train
from napari_neurobridge.training.losses import info_nce
from napari_neurobridge.training.made_by import made_by
from napari_neurobridge.training.simulated_data import PairSource, training_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt
    from torch import Tensor

    from napari_neurobridge.encoder.dual_channel import DualChannelEncoder
    from napari_neurobridge.training.loop import StepReport
    from napari_neurobridge.training.simulated_data import ByteCrops
    from napari_neurobridge.types import Report

SHRINK = 3
"""Pixels of a simulated crop along each side of one that these encoders see."""

HEAD_STEPS = 400
STEPS = 120
DROPOUT = 0.2
DEPTH = 2
FEW_SHOT_DEPTH = 6
"""Blocks of the trunk where fine-tuning of its last four must leave some as they are."""

_PAIRS = 320
# A dilute label takes five times as long to simulate.
_SPARSE_PAIRS = 128
_SETTLING_BATCHES = 40
# No other model was trained on these scenes.
_FIRST_SEED = 6000


def left_out_task(
    left_out: str,
    *,
    steps: int = STEPS,
    dropout: float = DROPOUT,
    depth: int = DEPTH,
    seed: int = 0,
) -> EncoderTaskConfig:
    """Return the settings of an encoder that learns from all domains but one.

    Parameters
    ----------
    left_out : str
        The domain that it never sees, one of `simulation.levels.DOMAINS`.
    steps : int
        Updates of all weights, after `HEAD_STEPS` of the heads.
    dropout : float
        Share of each channel's readout that is left out in training.
    depth : int
        Blocks of the global channel's transformer.
    seed : int
        Of weights and batches.

    Raises
    ------
    InputError
        If there is no such domain.
    """
    if left_out not in DOMAINS:
        raise InputError(
            f"There is no domain '{left_out}' to leave out; choose one of {', '.join(DOMAINS)}."
        )
    return EncoderTaskConfig(
        encoder=_small_encoder(f"without-{left_out}", dropout, depth),
        loop=LoopConfig(
            steps=steps,
            learning_rate=5e-4,
            warmup_steps=min(30, steps // 4),
            seed=seed,
            checkpoint_every=50,
        ),
        sources=tuple(
            PairSource(
                level=domain,
                pairs=_SPARSE_PAIRS if domain == "domain-D" else _PAIRS,
                first_seed=_FIRST_SEED,
            )
            for domain in DOMAINS
            if domain != left_out
        ),
        held_out_level=left_out,
        # Lengths are in pixels, of which there are fewer here.
        augment=AugmentConfig(rotation_deg=5.0, shift_px=2 / SHRINK, dropout_px=40 // SHRINK),
        # In so few steps circle loss with mined pairs finds nothing to go by.
        contrastive_steps=steps,
        contrastive_neurons=32,
        scenes_per_batch=2,
    )


def left_out_source(
    config: EncoderTaskConfig,
    folder: Path,
    *,
    pairs: Path | None = None,
    report: Report | None = None,
) -> Path:
    """Return the folder of such a model, trained unless that was done before.

    Parameters
    ----------
    config : EncoderTaskConfig
        Of `left_out_task`; another one is another model.
    folder : Path
        Where models and checkpoints are kept. A training that was stopped goes on from there.
    pairs : Path, optional
        Where simulated pairs are kept; ``folder`` unless given.
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to cancel.
    """
    settings = f"{config.model_dump_json()} {HEAD_STEPS}"
    digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
    out = folder / f"{config.encoder.name}-{digest}"
    if not out.exists():
        _make(out, config, pairs or folder, report)
    return out


def shrunk(pairs: PairSet, factor: int = SHRINK) -> PairSet:
    """Return pairs whose crops are averaged over ``factor`` × ``factor`` pixels."""
    two_photon, fmost = (_shrunk(side, factor) for side in (pairs.two_photon, pairs.fmost))
    return PairSet(two_photon, fmost, pairs.scene, pairs.center_um)


def _small_encoder(name: str, dropout: float, depth: int) -> EncoderConfig:
    """Return an architecture of a few hundred thousand weights for crops of 50 pixels."""
    return EncoderConfig(
        name=name,
        crop_pixels=50,
        dim=256,
        dropout=dropout,
        local_channel=LocalConfig(
            window=24, widths=(16, 32), strides=(2, 2), blocks=(0, 1), readout=16
        ),
        global_channel=GlobalConfig(
            stem_widths=(24,),
            stem_strides=(4,),
            stem_blocks=(1,),
            vit_options={
                "patch_size": 2,
                "embed_dim": 64,
                "depth": depth,
                "num_heads": 4,
                "class_token": False,
                "global_pool": "",
            },
            readout=16,
        ),
    )


def _make(out: Path, config: EncoderTaskConfig, pairs: Path, report: Report | None) -> None:
    for folder in (out.parent, pairs):
        folder.mkdir(parents=True, exist_ok=True)
    two_photon, fmost, scene = training_pairs(config.sources, pairs, report=report)
    crops = (_shrunk(two_photon, SHRINK), _shrunk(fmost, SHRINK))
    model = new_encoder(config)
    checkpoints = [out.with_name(f"{out.name}-{part}.safetensors") for part in ("heads", "all")]
    _settle_statistics(model, crops, config)
    run_through(_train_heads(model, crops, scene, config, checkpoints[0]), report, stage="heads, ")
    steps = train_encoder(model, *crops, scene, config, checkpoint=checkpoints[1])
    run_through(steps, report, stage="all weights, ")
    with atomic_folder(out) as folder:
        stored = save_model(model, folder)
        encoder = Encoder.load(folder)
        stored.write_fingerprint(fingerprint(encoder, crops))
        stored.write_card(_card(encoder, config))
    for checkpoint in checkpoints:
        checkpoint.unlink(missing_ok=True)


def _settle_statistics(
    model: DualChannelEncoder, crops: tuple[ByteCrops, ByteCrops], config: EncoderTaskConfig
) -> None:
    """Let batch normalisation see the crops before anything learns from what it gives."""
    rng = np.random.default_rng(config.loop.seed)
    model.train()
    with torch.no_grad():
        for _ in range(_SETTLING_BATCHES):
            rows = np.sort(rng.choice(len(crops[0]), config.contrastive_neurons, replace=False))
            batch = np.concatenate([side[rows] for side in crops]).astype(np.float32) / 255
            model.embed_view(torch.from_numpy(batch)[:, None].to(best_device()))


def _train_heads(
    model: DualChannelEncoder,
    crops: tuple[ByteCrops, ByteCrops],
    scene: npt.NDArray[np.int64],
    config: EncoderTaskConfig,
    checkpoint: Path,
) -> Iterator[StepReport]:
    """Train heads and gate on what the trunk gives, a whole scene at a time."""
    sides = [head_views(model, side.astype(np.float32) / np.float32(255)) for side in crops]
    rows = [torch.from_numpy(np.flatnonzero(scene == name)) for name in np.unique(scene)]
    trained = (model.local_channel.head, model.global_channel.head, model.gate)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        own = rows[int(torch.randint(len(rows), (1,), generator=generator))]
        view = int(torch.randint(sides[0].views, (1,), generator=generator))
        vectors = (view_vectors(model, side.take(own), view) for side in sides)
        return info_nce(*vectors, temperature=config.temperature)

    loop = config.loop.model_copy(update={"steps": HEAD_STEPS, "learning_rate": 2e-3})
    model.requires_grad_(False)
    for module in trained:
        module.requires_grad_(True)
    yield from train(model, loss, loop, checkpoint=checkpoint)
    model.requires_grad_(True)


def _shrunk(crops: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    return downsample(crops, (1, factor, factor))


def _card(encoder: Encoder, config: EncoderTaskConfig) -> str:
    sources = "\n".join(f"- {s.pairs} pairs of `{s.level}`" for s in config.sources)
    return _CARD.format(
        name=encoder.name,
        hash=encoder.hash,
        left_out=config.held_out_level,
        sources=sources,
        command=command_of(
            "left_out",
            out="OUT",
            left_out=config.held_out_level,
            steps=config.loop.steps,
            depth=config.encoder.global_channel.vit_options["depth"],
            seed=config.loop.seed,
        ),
        dropout=config.encoder.dropout,
        steps=config.loop.steps,
        heads=HEAD_STEPS,
        **made_by(),
    )


_CARD = """\
# {name}

A small dual-channel encoder for studies of adaptation, weights {hash}. It has never seen
`{left_out}`; nothing but benchmarks should use it. It sees crops of 50 pixels, 120 µm wide.

## Data

Simulation only:

{sources}

## Training

    {command}

{heads} steps of InfoNCE of the heads alone, then {steps} of all weights; dropout {dropout:g} of
each channel's readout.
Made on {machine} with napari-neurobridge {version}, torch {torch}, {date}.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line of this module; return the exit code."""
    parser = task_parser("Train an encoder on all domains but one.", None, "for pairs, checkpoint")
    parser.add_argument("--left-out", required=True, help="domain that it never sees")
    parser.add_argument("--dropout", type=float, default=DROPOUT)
    parser.add_argument("--depth", type=int, default=DEPTH, help="blocks of its transformer")
    options = parser.parse_args(arguments)

    def make() -> str:
        config = left_out_task(
            options.left_out,
            steps=options.steps or STEPS,
            dropout=options.dropout,
            depth=options.depth,
            seed=options.seed,
        )
        return str(left_out_source(config, options.out or options.cache, pairs=options.cache))

    return run_task(make)


if __name__ == "__main__":
    sys.exit(main())
