"""A model that was trained elsewhere, brought into a project and compared there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.models.model_folder import ENCODER, ModelFolder
from napari_neurobridge.models.zoo import find_model
from napari_neurobridge.training.blocks import overlapping
from napari_neurobridge.workflows.adopt import adopt_model, copy_model
from napari_neurobridge.workflows.index import load_encoder
from napari_neurobridge.workflows.pair_crops import crop_pairs
from napari_neurobridge.workflows.training_set import pair_places, pair_uids, plan_training

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.training.comparison import Comparison
    from napari_neurobridge.types import Report

_FEWEST = 2


@dataclass(frozen=True)
class ImportedModel:
    """What came of a model from elsewhere.

    Attributes
    ----------
    name : str
        What it is called in the project.
    comparison : Comparison or None
        With the project's model, on test pairs that it knows nothing of; ``None`` where there
        are fewer than two such.
    adopted : bool
        It is better, and the project uses it now.
    reason : str
        Why, or why not, in a sentence.
    """

    name: str
    comparison: Comparison | None
    adopted: bool
    reason: str


def import_model(
    project: Project,
    folder: Path,
    *,
    seed: int = 0,
    annotator: str | None = None,
    report: Report | None = None,
) -> ImportedModel:
    """Copy a model folder into a project, and go over to it if it is better there.

    It is compared with the current model on the test part of the project's pairs, as a training
    here is, without those that it learned or whose crops overlap with what it learned.

    Parameters
    ----------
    project : Project
        Its lock is held meanwhile.
    folder : Path
        A model folder, such as one that was trained from a bundle.
    seed : int
        Of the split; that of the bundle.
    annotator : str, optional
        Who brings it.
    report : callable, optional

    Raises
    ------
    InputError
        If the folder is damaged or no encoder, or there are too few pairs to compare on.
    """
    from napari_neurobridge.insight.evaluation import evaluate
    from napari_neurobridge.training.comparison import compare_models

    new = ModelFolder.open(find_model(folder, project))
    new.require_kind(ENCODER)
    new.verify()
    with project.lock():
        plan = plan_training(project, seed=seed)
        learned_uids = set(new.calibration.trained_on)
        learned = [pair for pair in plan.pairs if pair_uids(pair) in learned_uids]
        test = [plan.pairs[row] for row in plan.split.test]
        near = overlapping(pair_places(project, test), pair_places(project, learned))
        if not plan.split.separation.honest:
            near = np.array([pair_uids(pair) in learned_uids for pair in test])
        known = [pair for pair, is_near in zip(test, near.tolist(), strict=True) if not is_near]
        name = copy_model(project, new.path).name
        if len(known) < _FEWEST:
            told = f"Not adopted: only {len(known)} test pairs are none that it knows of."
            return ImportedModel(name, None, False, told)
        pairs = crop_pairs(project, known, report=report)
        sides = [evaluate(pairs, load_encoder(project, model)) for model in (None, name)]
        compared = compare_models(sides[0].similarity, sides[1].similarity, pairs.scene)
        if compared.better:
            adopt_model(project, name, reason="trained elsewhere", annotator=annotator)
    low, high = compared.interval
    fate = "Better" if compared.better else "Not adopted"
    told = (
        f"{fate}: gain in reciprocal rank {compared.gain:+.3f} on {compared.n} test pairs, 80 % "
        f"interval {low:+.3f} to {high:+.3f}."
    )
    return ImportedModel(name, compared, compared.better, told)
