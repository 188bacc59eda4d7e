"""What a project teaches: its pairs in parts that are kept apart, and rejected candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.training.blocks import overlapping, split_in_blocks
from napari_neurobridge.training.rejected import RejectedPairs, number_neurons
from napari_neurobridge.training.splits import PairSplit, Separation, check_pairs, split_pairs
from napari_neurobridge.types import Verdict
from napari_neurobridge.workflows.pair_crops import (
    accepted_somata,
    crop_pairs,
    oriented_places,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.types import FloatArray, Report, Soma

FEWEST_TO_FINE_TUNE = 6
"""Two to train on, two to choose weights by, and two to compare the models on."""

_FEWEST_NO_AUDITS = 4
FREE_FDR = 0.01
"""Share of the free labels that may be wrong."""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Crops to fine-tune on, in parts.

    Attributes
    ----------
    train, validation, test : PairSet
        Disjoint.
    separation : Separation
        What keeps them apart.
    uids : tuple of (str, str)
        Of the training pairs, where they have any.
    rejected : RejectedPairs or None
        Hard negatives beside the training pairs.
    audits : PairSet or None
        Pairs that answered a random question and lie outside the test part.
    n_free : int
        Of the training pairs, the last so many nobody accepted: they are claimed from places.
    n_left_out : int
        Pairs in no part, because their crops overlap with those of two.
    """

    train: PairSet
    validation: PairSet
    test: PairSet
    separation: Separation
    uids: tuple[tuple[str, str], ...] = ()
    rejected: RejectedPairs | None = None
    audits: PairSet | None = None
    n_free: int = 0
    n_left_out: int = 0

    def check(self, crop_pixels: int) -> None:
        """Raise `InputError` if a model with crops of that size cannot learn from them."""
        parts = [self.train, self.validation, self.test]
        parts += [] if self.rejected is None else [self.rejected.pairs]
        parts += [] if self.audits is None else [self.audits]
        check_pairs(PairSet.joined(parts), crop_pixels=crop_pixels)


@dataclass(frozen=True)
class TrainingPlan:
    """Which pairs of a project are for what, before anything is cropped.

    Attributes
    ----------
    pairs : tuple of (Soma, Soma)
        The accepted ones.
    split : PairSplit
        Rows of those.
    rejected, free : tuple of (Soma, Soma)
        Rejected candidates and free labels, as far as they are clear of the other parts.
    """

    pairs: tuple[tuple[Soma, Soma], ...]
    split: PairSplit
    rejected: tuple[tuple[Soma, Soma], ...]
    free: tuple[tuple[Soma, Soma], ...]


def split_file(pairs: PairSet, *, seed: int) -> TrainingSet:
    """Return a file of pairs as a training set, split by scenes.

    Raises
    ------
    InputError
        If there are fewer than six pairs.
    """
    _check_enough(len(pairs))
    split = split_pairs(pairs.scene, seed=seed)
    return TrainingSet(
        pairs.take(split.train),
        pairs.take(split.validation),
        pairs.take(split.test),
        split.separation,
    )


def plan_training(
    project: Project, *, seed: int = 0, free_labels: bool = False, report: Report | None = None
) -> TrainingPlan:
    """Decide which pairs of a project are for what.

    Accepted pairs are split in blocks (`split_in_blocks`), in the places where their crops lie.
    Pairs that answer a random question are never trained on. Rejected candidates, and free
    labels if asked for, are left out where their crops overlap with those that are kept apart.

    Parameters
    ----------
    project : Project
    seed : int
        Of the split.
    free_labels : bool
        Take pairs that are claimed from the somata's places alone, of which at most one in a
        hundred is expected to be wrong.
    report : callable, optional
        Of the matching that free labels take.

    Raises
    ------
    InputError
        If there are fewer than six pairs, or fewer than four that answer no random question.
    """
    state, pairs = project.state(), accepted_somata(project)
    _check_enough(len(pairs))
    asked_blindly = _audited(state)
    audit = np.array([pair_uids(pair) in asked_blindly for pair in pairs])
    if (~audit).sum() < _FEWEST_NO_AUDITS:
        raise InputError(
            f"Fine-tuning needs at least {_FEWEST_NO_AUDITS} pairs that answer no random check, "
            f"and there are {(~audit).sum()}.",
            kind=ErrorKind.TOO_FEW_PAIRS,
        )
    split = split_in_blocks(pair_places(project, pairs), audit=audit, seed=seed)
    free = _claimed_from_places(project, report) if free_labels else ()
    others = _Others(project, pairs, split)
    return TrainingPlan(pairs, split, others.clear(_rejected(project, state)), others.clear(free))


def crop_training_set(
    project: Project, plan: TrainingPlan, *, report: Report | None = None
) -> TrainingSet:
    """Crop all cells of a plan.

    Raises
    ------
    InputError
        If a dataset has no image.
    """
    wanted = (*plan.pairs, *plan.free, *plan.rejected)
    crops = crop_pairs(project, wanted, report=report)
    n, n_free, n_rejected = len(plan.pairs), len(plan.free), len(plan.rejected)
    split = plan.split
    learned = np.concatenate([split.train, np.arange(n, n + n_free)])
    uids = tuple(pair_uids(wanted[row]) for row in learned)
    rejected = None
    if n_rejected:
        numbers = number_neurons([pair_uids(pair) for pair in plan.rejected], uids)
        rejected = RejectedPairs(crops.take(np.arange(n + n_free, len(crops))), numbers)
    return TrainingSet(
        train=crops.take(learned),
        validation=crops.take(split.validation),
        test=crops.take(split.test),
        separation=split.separation,
        uids=uids,
        rejected=rejected,
        audits=crops.take(split.audits) if len(split.audits) else None,
        n_free=n_free,
        n_left_out=len(split.left_out),
    )


class _Others:
    """Keeps what nobody accepted clear of the parts that are kept apart."""

    def __init__(
        self, project: Project, pairs: Sequence[tuple[Soma, Soma]], split: PairSplit
    ) -> None:
        self._project = project
        far, held = split.test, np.concatenate([split.test, split.validation, split.audits])
        if split.separation is Separation.BLOCKS:
            far = np.concatenate([split.test, split.validation])
        elif split.separation is Separation.NONE:
            far = far[:0]
        self._far = pair_places(project, [pairs[row] for row in far])
        self._held = {soma.uid for row in held for soma in pairs[row]}

    def clear(self, pairs: Sequence[tuple[Soma, Soma]]) -> tuple[tuple[Soma, Soma], ...]:
        """Return those whose cells are in no part that is kept apart, nor seen in its crops."""
        if not pairs:
            return ()
        near = overlapping(pair_places(self._project, pairs), self._far)
        return tuple(
            pair
            for pair, is_near in zip(pairs, near.tolist(), strict=True)
            if not is_near and self._held.isdisjoint(pair_uids(pair))
        )


def _check_enough(n: int) -> None:
    if n < FEWEST_TO_FINE_TUNE:
        raise InputError(
            f"Fine-tuning needs at least {FEWEST_TO_FINE_TUNE} pairs and there are "
            f"{n}: two to train on, two to choose weights by and two to compare.",
            kind=ErrorKind.TOO_FEW_PAIRS,
        )


def pair_uids(pair: tuple[Soma, Soma]) -> tuple[str, str]:
    """Return the uids of a pair."""
    return pair[0].uid, pair[1].uid


def pair_places(project: Project, pairs: Sequence[tuple[Soma, Soma]]) -> list[FloatArray]:
    """Return where the cells of pairs lie in the frames of their crops, for either side."""
    return [
        oriented_places(project, name, np.array([p[side].center_um for p in pairs]).reshape(-1, 3))
        for side, name in enumerate((project.in_vivo(), project.ex_vivo()))
    ]


def _audited(state: State) -> set[tuple[str, str] | None]:
    """Return the pairs that somebody accepted as the answer to a random question."""
    return {v.pair for v in state.verdicts if v.verdict is Verdict.ACCEPT and v.evidence.audit}


def _rejected(project: Project, state: State) -> tuple[tuple[Soma, Soma], ...]:
    """Return the candidates that somebody rejected and nobody accepted, but for random checks."""
    sides = project.in_vivo(), project.ex_vivo()
    accepted = {v.pair for v in state.verdicts if v.verdict is Verdict.ACCEPT}
    uids = {
        v.pair
        for v in state.verdicts
        if v.verdict is Verdict.REJECT
        and v.pair is not None
        and v.pair not in accepted
        and v.datasets == sides
        and not v.evidence.audit
    }
    return _living(state, sides, sorted(uids))


def _claimed_from_places(project: Project, report: Report | None) -> tuple[tuple[Soma, Soma], ...]:
    """Return the claims of a match without images, of somata that no verdict names."""
    from napari_neurobridge.workflows.match import Claims, match_all

    state, sides = project.state(), (project.in_vivo(), project.ex_vivo())
    match = match_all(project, images=False, report=report)
    judged = {uid for v in state.verdicts for uid in (v.query_uid, v.candidate_uid)}
    claimed = [
        (pair.in_vivo_uid, pair.ex_vivo_uid)
        for pair in Claims.of(match, FREE_FDR).pairs
        if not pair.accepted and judged.isdisjoint((pair.in_vivo_uid, pair.ex_vivo_uid))
    ]
    return _living(state, sides, sorted(claimed))


def _living(
    state: State, sides: tuple[str, str], uids: Iterable[tuple[str, str]]
) -> tuple[tuple[Soma, Soma], ...]:
    here, there = (state.somata.get(name, {}) for name in sides)
    return tuple((here[one], there[two]) for one, two in uids if one in here and two in there)
