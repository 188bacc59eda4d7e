"""Fitting the alignment to landmarks, some of which may be wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.alignment import Alignment, MadeFrom
from napari_neurobridge.spaces.gaussian_process import (
    DeformationPrior,
    ExactRegression,
    FeatureRegression,
    PriorRegression,
    farthest_points,
)
from napari_neurobridge.spaces.landmarks import Landmarks, judge, regress
from napari_neurobridge.spaces.similarity import Similarity, span

if TYPE_CHECKING:
    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.types import FloatArray

Float64Array = npt.NDArray[np.float64]

# More landmarks than this are regressed on features instead of exactly.
_EXACT = 3000
_SUPPORT = 600
# How far displacement, length and noise may be from the prior's, as standard deviations of the
# log: how exactly a soma is placed is better known than how much tissue gives.
_SIZE_SD = np.array([0.4, 0.3, 0.2])
_MOST_TO_ADAPT = 150
# Rotations that few landmarks leave open: to about 30 degrees with a stated orientation.
_OPEN_STRAIN = {True: 0.3, False: 0.8}
# A mirror is said only when it explains the landmarks better by this factor (log).
_MIRROR_EVIDENCE = 5.0
_SURE_OF_HAND = 8


def fit_alignment(
    landmarks: Landmarks,
    *,
    prior: DeformationPrior | None = None,
    mirrored: bool | None = None,
    orientation: FloatArray | None = None,
    adapt: bool = True,
    known: Alignment | None = None,
    mean: Transform | None = None,
    source: str = "source",
    target: str = "target",
) -> Alignment:
    """Fit the alignment to landmarks, some of which may be wrong.

    Parameters
    ----------
    landmarks : Landmarks
        One or more.
    prior : DeformationPrior, optional
    mirrored : bool, optional
        Whether the two spaces have opposite handedness; if not given, that of the
        orientation, else what the landmarks say, else no.
    orientation : ndarray, shape (3, 3), optional
        Rough linear part of the map, right to about 15 degrees.
    adapt : bool
        Adapt the prior's sizes to the landmarks. Say no where matches that the program
        chose itself are among them.
    known : Alignment, optional
        Of nearly the same landmarks and the same orientation: where it rests on enough of
        them, its handedness is taken over instead of weighed again.
    mean : Transform, optional
        Mean function of the Gaussian process, such as a registration of the images; the
        orientation is then the identity, and what is fitted is what ``mean`` leaves.
    source, target : str
        Names of the spaces.

    Raises
    ------
    InputError
        If there is no landmark.
    """
    given = len(landmarks)
    original = landmarks = landmarks.take(landmarks.distinct())
    if not len(landmarks):
        raise InputError("An alignment needs at least one landmark.")
    prior = prior or DeformationPrior()
    stated = orientation is not None
    if mean is not None:
        orientation = np.eye(3)
        landmarks = replace(landmarks, source_um=mean.map_points(landmarks.source_um))
    if mirrored is None and orientation is not None:
        mirrored = bool(np.linalg.det(orientation) < 0)
    if known is not None and _tells_hand(known, landmarks, mirrored):
        mirrored, sure, notes = known.similarity.mirrored, known.hand_known, known.hand_notes
    else:
        mirrored, sure, notes = _handedness(landmarks, prior, mirrored, orientation)
    said = notes
    if len(landmarks) < given:
        notes += (f"Landmarks that are there twice count once: {given - len(landmarks)} less.",)
    wrong = judge(landmarks, prior, mirrored=mirrored, orientation=orientation)
    chosen = landmarks.take(wrong < 0.5)
    if adapt:
        prior = adapted_prior(chosen, prior, mirrored=mirrored, orientation=orientation)
    kind, prior, note = _kind(chosen, prior, orientation, about_mean=mean is not None)
    similarity, regression = _regressed(chosen, prior, mirrored, orientation)
    doubtful = int((wrong >= 0.5).sum())
    if doubtful:
        notes += (
            "1 landmark contradicts the others and was left out."
            if doubtful == 1
            else f"{doubtful} landmarks contradict the others and were left out.",
        )
    return Alignment(
        source,
        target,
        original,
        wrong,
        similarity,
        prior,
        kind,
        (*notes, *note),
        sure,
        said,
        regression,
        mean=mean,
        made_from=MadeFrom(orientation=stated, n_pairs=len(landmarks)),
    )


def with_prior(
    alignment: Alignment, prior: DeformationPrior, *, orientation: FloatArray | None = None
) -> Alignment:
    """Return an alignment of the same landmarks, judged as before, with another prior.

    Parameters
    ----------
    alignment : Alignment
    prior : DeformationPrior
    orientation : ndarray, shape (3, 3), optional
        That the alignment was fitted with.
    """
    landmarks = alignment.landmarks.take(alignment.used)
    if alignment.mean is not None:
        source = alignment.mean.map_points(landmarks.source_um)
        landmarks, orientation = replace(landmarks, source_um=source), np.eye(3)
    about_mean = alignment.mean is not None
    kind, prior, _ = _kind(landmarks, prior, orientation, about_mean=about_mean)
    mirrored = alignment.similarity.mirrored
    similarity, regression = _regressed(landmarks, prior, mirrored, orientation)
    return replace(alignment, prior=prior, kind=kind, similarity=similarity, regression=regression)


def alignment_without_landmarks(
    mean: Transform,
    *,
    orientation: bool,
    prior: DeformationPrior | None = None,
    center_um: FloatArray | None = None,
) -> Alignment:
    """Return a map that is all there is to go by before any landmark: its mean, and how sure.

    Parameters
    ----------
    mean : Transform
        From the orientations, or a registration.
    orientation : bool
        Whether somebody stated an orientation.
    prior : DeformationPrior, optional
        What the mean leaves; very much unless given.
    center_um : ndarray, shape (3,), optional
        Where in the target the mean is surest; its origin unless given.
    """
    prior = prior or replace(DeformationPrior(), strain=_OPEN_STRAIN[orientation])
    nothing = np.zeros((0, 3))
    center: Float64Array = np.zeros(3) if center_um is None else center_um.astype(np.float64)
    return Alignment(
        mean.source,
        mean.target,
        Landmarks(nothing, nothing),
        np.zeros(0),
        Similarity(np.eye(3), 1.0, center, center),
        prior,
        "rigid",
        (),
        orientation,
        (),
        PriorRegression(prior),
        mean=mean,
        made_from=MadeFrom(orientation=orientation),
    )


def _tells_hand(known: Alignment, landmarks: Landmarks, stated: bool | None) -> bool:
    """Return whether the handedness of later landmarks need not be weighed again."""
    enough = min(len(known.landmarks), len(landmarks)) >= _SURE_OF_HAND
    return enough and stated in (None, known.similarity.mirrored)


def _regressed(
    landmarks: Landmarks, prior: DeformationPrior, mirrored: bool, orientation: FloatArray | None
) -> tuple[Similarity, ExactRegression | FeatureRegression]:
    few = landmarks.take(farthest_points(landmarks.source_um, _EXACT, 1))
    similarity, exact = regress(few, prior, mirrored=mirrored, orientation=orientation)
    if len(landmarks) <= _EXACT:
        return similarity, exact
    offsets = similarity.offsets(landmarks.source_um)
    displacement = landmarks.target_um - similarity.target_center_um - offsets
    sigma = landmarks.sigma(prior)
    return similarity, FeatureRegression(prior, offsets, displacement, sigma, _SUPPORT)


def _kind(
    landmarks: Landmarks,
    prior: DeformationPrior,
    orientation: FloatArray | None,
    *,
    about_mean: bool,
) -> tuple[str, DeformationPrior, tuple[str, ...]]:
    """Return what can be fitted, the prior of what cannot, and what to say."""
    count, dimensions = len(landmarks), span(landmarks.source_um)
    stated = orientation is not None
    if dimensions < 2 and not about_mean:
        prior = replace(prior, strain=max(prior.strain, _OPEN_STRAIN[stated]))
    if count < 3 or dimensions < 2:
        what = "a shift" if count == 1 or dimensions == 0 else "a shift and one direction"
        rest = "the stated orientation" if stated else "nothing: state an orientation"
        rest = "the registration" if about_mean else rest
        kind = "rigid" if count < 3 else "similarity"
        who = "1 landmark gives" if count == 1 else f"{count} landmarks give"
        return kind, prior, (f"{who} {what}; the rest comes from {rest}.",)
    if count < 4:
        return "similarity", prior, ("Fewer than 4 landmarks: only a similarity was fitted.",)
    if dimensions == 2:
        return (
            "elastic",
            prior,
            (
                "All landmarks lie in one plane: the scale across it and the handedness are not "
                "measured but taken from the voxel sizes and the stated orientation. A landmark "
                "off that plane measures them.",
            ),
        )
    return "elastic", prior, ()


def _handedness(
    landmarks: Landmarks,
    prior: DeformationPrior,
    stated: bool | None,
    orientation: FloatArray | None,
) -> tuple[bool, bool, tuple[str, ...]]:
    """Return whether the map is mirrored, whether that is sure, and what to say."""
    if len(landmarks) < 5 or span(landmarks.source_um) < 3:
        return bool(stated), stated is not None, ()
    chosen = landmarks.take(farthest_points(landmarks.source_um, _MOST_TO_ADAPT, 1))
    evidence = {}
    for mirrored in (False, True):
        keep = judge(chosen, prior, mirrored=mirrored) < 0.5
        # A landmark left out costs what a wrong one costs in the volume of the others.
        lost = (~keep).sum() * (np.log(prior.wrong) - 3 * np.log(10 * prior.displacement_um))
        evidence[mirrored] = float(lost)
        if keep.any():
            _, regression = regress(chosen.take(keep), prior, mirrored=mirrored, orientation=None)
            evidence[mirrored] += regression.log_evidence
    data = evidence[True] - evidence[False]
    if abs(data) < _MIRROR_EVIDENCE:
        return bool(stated), stated is not None, ()
    if stated is None:
        note = ("The landmarks are mirrored: the two spaces have opposite handedness.",)
        return data > 0, True, note if data > 0 else ()
    if stated != (data > 0):
        said, seen = ("mirrored", "not") if stated else ("not mirrored", "they are")
        return stated, True, (f"The orientation says {said}, but the landmarks say {seen}.",)
    return stated, True, ()


def adapted_prior(
    landmarks: Landmarks,
    prior: DeformationPrior,
    *,
    mirrored: bool,
    orientation: FloatArray | None = None,
) -> DeformationPrior:
    """Return the prior with its sizes averaged over their posterior.

    Displacement, length and noise are log-normal about the stated values; few landmarks
    leave them where they are.
    """
    if len(landmarks) < 4:
        return prior
    rows = farthest_points(landmarks.source_um, _MOST_TO_ADAPT, 1)
    chosen = landmarks.take(rows)
    similarity, _ = regress(chosen, prior, mirrored=mirrored, orientation=orientation)
    offsets = similarity.offsets(chosen.source_um)
    displacement = chosen.target_um - similarity.target_center_um - offsets
    steps = np.array([-1.5, -0.75, 0.0, 0.75, 1.5])
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    scores = np.empty(len(grid))
    for number, step in enumerate(grid):
        trial = _scaled(prior, step)
        regression = ExactRegression(trial, offsets, displacement, chosen.sigma(trial))
        scores[number] = regression.log_evidence - 0.5 * float(step @ step)
    weights = np.exp(scores - scores.max())
    # The mean of squares: to take too small a displacement costs more than too large a one.
    mean_square = weights @ np.exp(2 * grid * _SIZE_SD) / weights.sum()
    return _scaled(prior, 0.5 * np.log(mean_square) / _SIZE_SD)


def _scaled(prior: DeformationPrior, step: Float64Array) -> DeformationPrior:
    size, length, sigma = np.exp(_SIZE_SD * step)
    return replace(
        prior,
        displacement_um=float(prior.displacement_um * size),
        length_um=float(prior.length_um * length),
        sigma_um=float(prior.sigma_um * sigma),
    )
