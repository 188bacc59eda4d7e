"""What parts of the simulation earn: encoders trained on pairs that lack one of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from napari_neurobridge.benchmarks.ablation_geometry import CropMotion, crop_motion
from napari_neurobridge.benchmarks.ablation_statistics import AblationRow, Scores, ablation_rows
from napari_neurobridge.benchmarks.contract import (
    BenchmarkParameters,
    BenchmarkResult,
    Level,
    Seeds,
)
from napari_neurobridge.benchmarks.real_pairs import RealPairs, rank_partners, read_real_pairs
from napari_neurobridge.benchmarks.robustness import TEST_SEEDS
from napari_neurobridge.encoder.dual_channel import EncoderConfig
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.encoder.global_channel import GlobalConfig
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.pairs import PairSet, as_bytes
from napari_neurobridge.io.pyramid import downsample
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.simulation.levels import Difficulty
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.pairs import BlockCrops, BlockKeys, simulate_block
from napari_neurobridge.simulation.parallel import Assembly, Check
from napari_neurobridge.training.augmentation import AugmentConfig
from napari_neurobridge.training.encoder_task import EncoderTaskConfig, new_encoder, train_encoder
from napari_neurobridge.training.evaluation import partner_ranks
from napari_neurobridge.training.loop import LoopConfig
from napari_neurobridge.training.simulated_data import (
    CELLS_PER_SCENE,
    EVALUATION_CELLS,
    held_out_pairs,
)
from napari_neurobridge.workflows.index import load_encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.types import Float32Array, Report

TRAINING_SEED = 5000
"""Of the scenes that encoders are trained on."""

FULL, CONTROL = "full", "other tissue"
_NO_VESSELS = {
    # Neither density may be 0: no vessel of the surface and no loop meets a block of these.
    "pial_spacing_um": 1e9,
    "penetrating_per_mm2": 0.0,
    "capillary_m_per_mm3": 1e-9,
}
_NO_TEARS = {"tears_per_mm3": 0.0}
_NO_WINDOW = {"dimple_um": 0.0, "compression": 0.0}

ABLATIONS: dict[str, dict[str, dict[str, Any]]] = {
    FULL: {},
    CONTROL: {},
    "no vessels": {"vessels": _NO_VESSELS},
    "no tears": {"misfit": _NO_TEARS},
    "no window": {"misfit": _NO_WINDOW},
}
"""What each condition changes of the level that is ablated.

The control changes nothing but the tissue: without vessels somata are drawn otherwise, and
that alone makes a difference. Tears and the window leave the tissue as it is.
"""

SMALL_ENCODER = EncoderConfig(
    name="small",
    crop_pixels=75,
    dim=256,
    local_channel=LocalConfig(window=32, widths=(8, 16, 32), blocks=(0, 0, 1), readout=16),
    global_channel=GlobalConfig(
        stem_widths=(16, 32),
        stem_strides=(4, 2),
        stem_blocks=(0, 1),
        vit_options={
            "patch_size": 2,
            "embed_dim": 64,
            "depth": 1,
            "num_heads": 2,
            "class_token": False,
            "global_pool": "",
        },
        readout=16,
    ),
)
"""The bundled architecture, thirty times cheaper: half the resolution, a third of the width."""


class AblationParameters(BenchmarkParameters):
    """The budget, the same for every condition."""

    cache: Path = Field(description="Folder for scenes and checkpoints; goes on from them.")
    conditions: tuple[str, ...] = Field(
        tuple(ABLATIONS),
        description="What is compared, 'full' among it.",
        json_schema_extra={"metavar": "NAME,NAME"},
    )
    level: Level = "paper"
    seeds: Seeds = TEST_SEEDS
    scenes: int = Field(12, ge=1, description="Scenes of 64 training pairs for each condition.")
    steps: int = Field(150, ge=1, description="Updates of each encoder.")
    initialisations: int = Field(2, ge=1, description="Encoders of each condition.")
    real: Path | None = Field(
        None,
        description="Real images to test on: in_vivo and ex_vivo as .tif and .csv, silver.csv.",
        json_schema_extra={"metavar": "FOLDER"},
    )
    pixel_um: tuple[float, float] | None = Field(
        None, description="Side of a pixel of either real image, in the µm of its table."
    )
    reference: str | None = Field(
        None, description="A finished model (name or folder) that is tested beside them."
    )

    def difficulty(self, condition: str) -> Difficulty:
        """Return the parameters of one condition."""
        return named_level(self.level).changed(**ABLATIONS[condition])

    def real_pairs(self, report: Report | None) -> RealPairs | None:
        """Read the real images, if there are any.

        Raises
        ------
        InputError
            If they cannot be read, or images and the size of their pixels are not given
            together.
        """
        if self.real is None and self.pixel_um is None:
            return None
        if self.real is None or self.pixel_um is None:
            raise InputError("Real images and the size of their pixels go together; give both.")
        return read_real_pairs(self.real, pixel_um=self.pixel_um, report=report)


class AblationBenchmark(BenchmarkResult):
    """All conditions, the full simulation first."""

    level: str
    level_digest: str
    scenes: int = Field(description="Scenes of 64 training pairs, of each condition.")
    steps: int = Field(description="Updates of each encoder.")
    initialisations: int
    n_simulated: int = Field(description="Queries of the simulated test, in scenes of 53.")
    n_real: int | None = Field(description="Queries of the real test, if there was one.")
    n_gallery: int | None = Field(description="Candidates of the real test.")
    motion: dict[str, CropMotion] = Field(description="What each condition moves in a crop.")
    results: tuple[AblationRow, ...]
    reference: AblationRow | None = Field(description="A model made elsewhere, on the same test.")

    def summary(self) -> str:
        """Return a table of the means, of the differences to the full simulation, and intervals."""
        names = list(self.results[0].figures)
        moved = {name: motion.rms_um for name, motion in self.motion.items()}
        rows = [
            (
                row.condition,
                moved.get(row.condition),
                *(row.figures[name].text() for name in names),
            )
            for row in (*self.results, *([self.reference] if self.reference else []))
        ]
        return (
            f"{text_table(('condition', 'moves µm', *names), rows)}\n"
            f"{self.scenes} scenes and {self.steps} steps for each of {self.initialisations} "
            f"initialisations, level {self.level} ({self.level_digest}); with a sign: difference "
            "to the full simulation; in brackets: 95 % intervals"
        )


def run(parameters: AblationParameters, *, report: Report | None = None) -> AblationBenchmark:
    """Train an encoder on each condition from each initialisation, and test them all alike.

    Stopped at any moment, the same call goes on from what the cache holds. The conditions
    share the seeds of the tissue, the first weights and the draw of batches; the test is
    always on the full level, and on real images.

    Parameters
    ----------
    parameters : AblationParameters
        Conditions and budget.
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to cancel.

    Raises
    ------
    InputError
        If a condition, the level or the reference is unknown, the full simulation is not
        among the conditions, or the real images cannot be read.
    """
    _check(parameters)
    full, cache = named_level(parameters.level), parameters.cache
    real = parameters.real_pairs(report)
    reference = None if parameters.reference is None else load_encoder(None, parameters.reference)
    cache.mkdir(parents=True, exist_ok=True)
    test = _Test(_test_pairs(parameters), real)
    scores: dict[str, list[Scores]] = {name: [] for name in parameters.conditions}
    # Initialisations outermost: what is done when one is stopped compares all conditions.
    for initialisation in range(parameters.initialisations):
        for name in parameters.conditions:
            encoder = _trained(parameters, name, initialisation, report)
            scores[name].append(test.score(encoder))
    return AblationBenchmark(
        level=parameters.level,
        level_digest=full.digest(),
        scenes=parameters.scenes,
        steps=parameters.steps,
        initialisations=parameters.initialisations,
        n_simulated=len(test.simulated),
        n_real=None if real is None else len(real.partner),
        n_gallery=None if real is None else len(real.fmost),
        motion={
            name: crop_motion(full, parameters.difficulty(name), seed=TRAINING_SEED)
            for name in parameters.conditions
        },
        results=ablation_rows(scores, FULL),
        reference=_reference_row(test, reference),
    )


def small_task(steps: int, initialisation: int) -> EncoderTaskConfig:
    """Return how one small encoder is trained: by InfoNCE alone, which learns fastest."""
    usual, smaller = AugmentConfig(), SMALL_ENCODER.crop_pixels / EncoderConfig().crop_pixels
    return EncoderTaskConfig(
        encoder=SMALL_ENCODER,
        augment=AugmentConfig(
            shift_px=usual.shift_px * smaller, dropout_px=round(usual.dropout_px * smaller)
        ),
        loop=LoopConfig(
            steps=steps,
            learning_rate=2e-3,
            warmup_steps=min(20, steps),
            checkpoint_every=25,
            report_every=5,
            seed=initialisation,
        ),
        contrastive_steps=steps,
    )


def training_scenes(
    difficulty: Difficulty,
    scenes: Sequence[int],
    seed: int,
    cache: Path,
    *,
    report: Report | None = None,
) -> PairSet:
    """Return the training pairs of one condition, simulating the scenes that are not cached.

    They are those of `simulation.pairs.simulate_pairs`, up to rounding to 8 bits.

    Parameters
    ----------
    difficulty : Difficulty
        All parameters.
    scenes : sequence of int
        Numbers of the scenes, of 64 cells or fewer each.
    seed : int
        Of all of them.
    cache : Path
        Folder with a file for each.
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to cancel.
    """
    paths = {n: cache / f"scene-{difficulty.digest()}-{seed}-{n:03d}.npz" for n in scenes}
    missing = [number for number, path in paths.items() if not path.exists()]
    done = 0

    def make(place: int, check: Check) -> BlockCrops:
        keys = BlockKeys.of(seed, missing[place])
        return simulate_block(difficulty, CELLS_PER_SCENE, keys, torch.device("cpu"), check=check)

    def tell() -> None:
        if report is not None:
            report(done, len(missing), "simulating scenes")

    with Assembly(make, torch.get_num_threads(), tell) as assembly:
        for number in missing:
            block = assembly.take(len(missing) - done)
            scene = np.full(len(block.two_photon), number, dtype=np.int64)
            PairSet(block.two_photon, block.fmost, scene, block.center_um).save(paths[number])
            done += 1
    return PairSet.joined([PairSet.load(path) for path in paths.values()])


def _test_pairs(parameters: AblationParameters) -> PairSet:
    seeds = hashlib.sha256(str(parameters.seeds).encode()).hexdigest()[:12]
    path = parameters.cache / f"test-{named_level(parameters.level).digest()}-{seeds}.npz"
    if not path.exists():
        held_out_pairs(parameters.seeds, parameters.level).save(path)
    return PairSet.load(path)


def _check(parameters: AblationParameters) -> None:
    unknown = [name for name in parameters.conditions if name not in ABLATIONS]
    if unknown:
        raise InputError(
            f"There is no condition '{unknown[0]}'; choose among {', '.join(ABLATIONS)}."
        )
    if FULL not in parameters.conditions:
        raise InputError(f"Conditions are compared with '{FULL}', which must be among them.")
    if not parameters.seeds:
        raise InputError("the benchmark needs at least one scene; give at least one seed")


def _trained(
    parameters: AblationParameters, condition: str, initialisation: int, report: Report | None
) -> Encoder:
    """Train one encoder, or finish the one that a checkpoint holds."""
    task = small_task(parameters.steps, initialisation)
    difficulty, cache = parameters.difficulty(condition), parameters.cache
    first = parameters.scenes if condition == CONTROL else 0
    scenes = range(first, first + parameters.scenes)
    pairs = training_scenes(difficulty, scenes, TRAINING_SEED, cache, report=report)
    two_photon, fmost = (
        as_bytes(at_size(crops, task.encoder.crop_pixels))
        for crops in (pairs.two_photon, pairs.fmost)
    )
    made_of = f"{difficulty.digest()} {TRAINING_SEED} {scenes} {task.model_dump_json()}"
    key = hashlib.sha256(made_of.encode()).hexdigest()[:12]
    model = new_encoder(task)
    steps = train_encoder(
        model, two_photon, fmost, pairs.scene, task, checkpoint=cache / f"{key}.safetensors"
    )
    for step in steps:
        if report is not None:
            told = f"{condition}, initialisation {initialisation}, loss {step.loss:.3f}"
            report(step.step, step.steps, told)
    return Encoder(model, key)


def at_size(crops: Float32Array, pixels: int) -> Float32Array:
    """Average the pixels of crops (N, P, P) down to a side that divides theirs.

    Raises
    ------
    InputError
        If it does not.
    """
    factor, rest = divmod(crops.shape[-1], pixels)
    if rest:
        raise InputError(
            f"crops of {crops.shape[-1]} pixels cannot be averaged to {pixels}; take a divisor"
        )
    return crops if factor == 1 else downsample(crops, (1, factor, factor))


class _Test:
    """What every encoder is asked."""

    def __init__(self, simulated: PairSet, real: RealPairs | None) -> None:
        self.simulated, self.real = simulated, real

    def score(self, encoder: Encoder) -> Scores:
        """Return what each query contributes to each figure."""
        two_photon, fmost = self._embed(encoder, self.simulated.two_photon, self.simulated.fmost)
        scene = self.simulated.scene
        own_scene = scene[:, None] == scene[None, :]
        ranks = partner_ranks(np.where(own_scene, two_photon @ fmost.T, -np.inf))
        scores: dict[str, npt.NDArray[np.float64]] = {
            f"simulated_top1_{EVALUATION_CELLS}": (ranks == 1).astype(np.float64),
            "simulated_mrr": 1.0 / ranks,
        }
        if self.real is not None:
            vectors = self._embed(encoder, self.real.two_photon, self.real.fmost)
            ranked = rank_partners(
                vectors[0], vectors[1], self.real.partner, self.real.gallery_um
            ).figures()
            scores |= {f"real_{name}": values for name, values in ranked.items()}
        return scores

    @staticmethod
    def _embed(encoder: Encoder, *sides: Float32Array) -> Sequence[Float32Array]:
        pixels = encoder.config.crop_pixels
        return [encoder.embed(at_size(crops, pixels)) for crops in sides]


def _reference_row(test: _Test, encoder: Encoder | None) -> AblationRow | None:
    if encoder is None:
        return None
    name = f"{encoder.name} {encoder.hash}"
    return ablation_rows({name: [test.score(encoder)]}, name)[0]
