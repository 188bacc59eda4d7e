"""Probabilities that mean what they say: audits, calibration, expected false matches."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.posterior import Posterior
from napari_neurobridge.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_neurobridge.models.model_folder import ModelCalibration
    from napari_neurobridge.project.log.fold import StandingVerdict, State

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

FEWEST_AUDITS = 30
"""With fewer audits the known calibration stands."""

_SURE = 1e-9
# How far audits' calibration may be from the known one, as standard deviations of the log of
# the slope and of the offset.
_SLOPE_SD, _OFFSET_SD = 0.4, 0.7


def claimable(confidence: npt.ArrayLike, fdr: float) -> BoolArray:
    """Return the largest set of claims whose expected share of false ones is at most ``fdr``.

    Parameters
    ----------
    confidence : array_like, shape (N,)
        Probability of each claim to be right.
    fdr : float
        False discovery rate, from 0 to 1.

    Returns
    -------
    ndarray of bool, shape (N,)

    Raises
    ------
    InputError
        If a number is no probability.
    """
    sure = _probabilities(confidence)
    if not 0 <= fdr <= 1:
        raise InputError(f"A false discovery rate lies between 0 and 1, not at {fdr:g}.")
    order = np.argsort(-sure, kind="stable")
    false = np.cumsum(1.0 - sure[order]) / np.arange(1, len(order) + 1)
    # The mean of the growing list rises with it, so the count is the longest list.
    chosen = np.zeros(len(sure), dtype=np.bool_)
    chosen[order[: int((false <= fdr).sum())]] = True
    return chosen


def expected_false(confidence: npt.ArrayLike) -> float:
    """Return how many of some claims are expected to be false."""
    return float((1.0 - _probabilities(confidence)).sum())


@dataclass(frozen=True)
class Audit:
    """The outcome of one random and blind question.

    Attributes
    ----------
    probability : float
        Of the candidate that the program ranked first, when it was asked.
    right : bool
        Whether the person accepted that candidate.
    """

    probability: float
    right: bool


def audits_of(state: State, first: str, second: str) -> list[Audit]:
    """Return the audits between two datasets, in the order of the verdicts.

    Each annotator's answer to a query counts once. Accepting the candidate that the program
    ranked first makes it right; accepting another, or finding none, makes it wrong; so does
    rejecting it, if nothing was accepted. Who is unsure has not answered. Answers to a random
    check of claimed pairs are none: those pairs were chosen for being probable, and no other
    candidate was shown.

    Parameters
    ----------
    state : State
    first, second : str
        Names of the datasets, whichever was asked.
    """
    answers: dict[tuple[str, str], list[StandingVerdict]] = defaultdict(list)
    for verdict in state.verdicts:
        evidence = verdict.evidence
        among = {verdict.query_dataset, verdict.candidate_dataset or verdict.query_dataset}
        known = evidence.first_uid is not None and evidence.first_probability is not None
        if evidence.calibrates and known and among <= {first, second}:
            answers[verdict.annotator, verdict.query_uid].append(verdict)
    audits = (_audit(verdicts) for verdicts in answers.values())
    return [audit for audit in audits if audit is not None]


def _audit(verdicts: Sequence[StandingVerdict]) -> Audit | None:
    """Return what one annotator's verdicts on one query say, in the order of decisiveness."""
    for kind in (Verdict.ACCEPT, Verdict.NONE, Verdict.REJECT):
        for verdict in verdicts:
            evidence = verdict.evidence
            named_first = verdict.candidate_uid == evidence.first_uid
            # To reject another candidate says nothing about the first.
            if verdict.verdict is kind and (kind is not Verdict.REJECT or named_first):
                if evidence.first_probability is None:
                    return None
                right = kind is Verdict.ACCEPT and named_first
                return Audit(evidence.first_probability, right)
    return None


@dataclass(frozen=True)
class Calibration:
    """A straight line on the log odds (Platt scaling) of the first candidate.

    Platt, "Probabilistic outputs for support vector machines", 1999, section 2; on log odds, so
    that slope 1 and offset 0 change nothing.

    Attributes
    ----------
    slope : float
        Above 0; below 1 if the program is too sure of itself.
    offset : float
        Log odds.
    n_audits : int
        How many audits there were, used or not.
    source : {"none", "model", "audits"}
        What it rests on: nothing, the model's own folder, or this project's audits.
    """

    slope: float = 1.0
    offset: float = 0.0
    n_audits: int = 0
    source: Literal["none", "model", "audits"] = "none"

    def __post_init__(self) -> None:
        if not (self.slope > 0 and np.isfinite([self.slope, self.offset]).all()):
            raise InputError("A calibration needs a positive slope and a finite offset.")

    def apply(self, probability: npt.ArrayLike) -> Float64Array:
        """Return calibrated probabilities, of the same shape and order."""
        odds = logit(np.clip(_probabilities(probability), _SURE, 1 - _SURE))
        return np.asarray(expit(self.slope * odds + self.offset))

    def recalibrated(self, posterior: Posterior) -> Posterior:
        """Return a posterior whose first candidates have calibrated probabilities.

        The others, none and beyond share the rest as before; where a candidate would rise
        above the first, the excess goes to none. All still add up to 1.
        """
        if (self.slope, self.offset) == (1.0, 0.0):
            return posterior
        first = self.apply(posterior.probability[:, 0])
        rest = 1.0 - posterior.probability[:, 0]
        scale = ((1.0 - first) / np.maximum(rest, _SURE))[:, None]
        probability = np.minimum(posterior.probability * scale, first[:, None])
        probability[:, 0] = first
        beyond = posterior.beyond * scale[:, 0]
        none = np.maximum(1.0 - probability.sum(axis=1) - beyond, 0.0)
        return Posterior(posterior.rows, probability, none, beyond)


COORDINATES = Calibration()
"""Of coordinates alone: tables of real somata and detected simulated ones ask for no change."""


def calibration_of(model: ModelCalibration) -> Calibration:
    """Return what holds of matches that rest on a model's appearance before there are audits."""
    if model.probability is None:
        return Calibration()
    return Calibration(model.probability.slope, model.probability.offset, source="model")


def fit_calibration(audits: Iterable[Audit], prior: Calibration = COORDINATES) -> Calibration:
    """Fit a calibration to audits, drawn towards one that is known.

    Parameters
    ----------
    audits : iterable of Audit
        Below `FEWEST_AUDITS` the known calibration is returned.
    prior : Calibration
        What holds before there are audits.
    """
    audits = list(audits)
    if len(audits) < FEWEST_AUDITS:
        return Calibration(prior.slope, prior.offset, len(audits), prior.source)
    probability = np.array([audit.probability for audit in audits])
    right = np.array([audit.right for audit in audits])
    slope, offset = _fit(probability, right, prior, (_SLOPE_SD, _OFFSET_SD))
    return Calibration(slope, offset, len(audits), "audits")


def measure_calibration(confidence: npt.ArrayLike, right: npt.ArrayLike) -> Calibration:
    """Fit a calibration to many known outcomes alone; what a model folder states.

    Parameters
    ----------
    confidence : array_like, shape (N,)
        Probabilities of first candidates.
    right : array_like of bool, shape (N,)
    """
    wide = (10.0, 10.0)
    slope, offset = _fit(_probabilities(confidence), np.asarray(right), Calibration(), wide)
    return Calibration(slope, offset, len(np.asarray(right)))


def _fit(
    probability: Float64Array, right: BoolArray, prior: Calibration, spread: tuple[float, float]
) -> tuple[float, float]:
    """Return the most probable slope and offset."""
    odds = logit(np.clip(_probabilities(probability), _SURE, 1 - _SURE))
    sign = np.where(right, 1.0, -1.0)

    def cost(about: Float64Array) -> float:
        z = np.exp(np.log(prior.slope) + about[0]) * odds + prior.offset + about[1]
        away = (about[0] / spread[0]) ** 2 + (about[1] / spread[1]) ** 2
        return float(away / 2 - log_expit(sign * z).sum())

    about = minimize(cost, np.zeros(2), method="L-BFGS-B", bounds=[(-3, 3), (-10, 10)]).x
    return float(prior.slope * np.exp(about[0])), float(prior.offset + about[1])


class ReliabilityBin(BaseModel, frozen=True):
    """Claims of about one confidence."""

    low: float = Field(description="Smallest confidence of the bin.")
    high: float = Field(description="Largest.")
    n: int = Field(description="Claims in it.")
    confidence: float = Field(description="Their mean confidence.")
    right: float = Field(description="Share that is right.")


class Reliability(BaseModel, frozen=True):
    """Whether probabilities mean what they say."""

    n: int
    bins: tuple[ReliabilityBin, ...] = Field(description="Those that hold any claim.")
    error: float = Field(
        description="Expected calibration error: mean gap of confidence and share, by claims."
    )
    log_score: float = Field(description="Mean log probability of what was the case.")
    base_log_score: float = Field(
        description="The same of somebody who always says the share that is right."
    )


def reliability(confidence: npt.ArrayLike, right: npt.ArrayLike, bins: int = 10) -> Reliability:
    """Compare confidences with outcomes.

    Parameters
    ----------
    confidence : array_like, shape (N,)
        Probability of each claim.
    right : array_like of bool, shape (N,)
    bins : int
        Of equal width (Guo et al., ICML 2017, equation 3).

    Raises
    ------
    InputError
        If there is no claim, or the arrays disagree in length.
    """
    sure, was = _probabilities(confidence), np.asarray(right, dtype=np.bool_)
    if not len(sure) or sure.shape != was.shape:
        raise InputError("Reliability needs at least one claim, and whether each is right.")
    if bins < 1:
        raise InputError(f"Reliability needs at least one bin, not {bins}.")
    place = np.minimum((sure * bins).astype(int), bins - 1)
    rows = tuple(
        ReliabilityBin(
            low=b / bins,
            high=(b + 1) / bins,
            n=int((place == b).sum()),
            confidence=float(sure[place == b].mean()),
            right=float(was[place == b].mean()),
        )
        for b in np.unique(place).tolist()
    )
    return Reliability(
        n=len(sure),
        bins=rows,
        error=sum(row.n * abs(row.confidence - row.right) for row in rows) / len(sure),
        log_score=_log_score(sure, was),
        base_log_score=_log_score(np.full(len(sure), was.mean()), was),
    )


def _log_score(sure: Float64Array, was: BoolArray) -> float:
    said = np.where(was, sure, 1.0 - sure)
    return float(np.log(np.maximum(said, 1e-6)).mean())


def _probabilities(values: npt.ArrayLike) -> Float64Array:
    array = np.asarray(values, dtype=np.float64)
    # Rounding may leave a sum of shares a little above 1.
    if not ((array >= -_SURE) & (array <= 1 + _SURE)).all():
        raise InputError("Probabilities lie between 0 and 1.")
    return np.clip(array, 0.0, 1.0)
