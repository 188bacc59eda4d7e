"""Pairs as a match tells of them: the most probable ones, and what a person accepted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MatchedPair:
    """The most probable partner of one soma, no partner being given twice.

    Attributes
    ----------
    in_vivo_uid, ex_vivo_uid : str
    probability : float
        For an accepted pair, that the person was right.
    residual_um : float
        Distance of the partner from where it was expected without this pair.
    score_um : float
        Distance of the nearest other soma from there, less the residual (MICrONS Consortium,
        Nature 2025): small or negative where another soma fits as well.
    accepted : bool
        Whether a person accepted it.
    """

    in_vivo_uid: str
    ex_vivo_uid: str
    probability: float
    residual_um: float
    score_um: float
    accepted: bool


@dataclass(frozen=True)
class ReviewedPair:
    """An accepted pair, judged by all other cells.

    Attributes
    ----------
    in_vivo_uid, ex_vivo_uid : str
    p_wrong : float
        Probability that it is wrong.
    residual_um : float
        Distance from where the others expect the partner.
    """

    in_vivo_uid: str
    ex_vivo_uid: str
    p_wrong: float
    residual_um: float
