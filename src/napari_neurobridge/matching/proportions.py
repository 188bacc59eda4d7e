"""What a count out of a few says about a share: the intervals and bounds that are shown."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from napari_neurobridge.errors import InputError

CONFIDENCE = 0.95
"""Of every interval and bound, unless somebody asks for another."""

_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


def wilson_interval(share: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of a share of ``n`` (Wilson, JASA 1927).

    It has a width also where all or none of a few were right: 5 of 5 is 0.57 to 1.

    Parameters
    ----------
    share : float
        From 0 to 1.
    n : float
        Number of independent cases, above 0.

    Raises
    ------
    InputError
        If that is no share of anything.
    """
    if not (n > 0 and 0 <= share <= 1):
        raise InputError(f"There is no interval for a share of {share:g} of {n:g} cases.")
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    reach = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def interval_in_words(interval: tuple[float, float], *, digits: int = 2) -> str:
    """Return an interval as "0.56 to 1.00", rounded outwards: it must not look narrower."""
    low, high = _outwards(interval, digits)
    return f"{low:.{digits}f} to {high:.{digits}f}"


def interval_in_percent(interval: tuple[float, float], *, digits: int = 0) -> str:
    """Return the interval of a share as "56 to 100 %", rounded outwards."""
    low, high = _outwards((100 * interval[0], 100 * interval[1]), digits)
    return f"{low:.{digits}f} to {high:.{digits}f} %"


def _outwards(interval: tuple[float, float], digits: int) -> tuple[float, float]:
    scale, slack = 10**digits, 1e-9
    low, high = (bound * scale for bound in interval)
    return math.floor(low + slack) / scale, math.ceil(high - slack) / scale


def area_interval(area: float, n_same: float, n_different: float) -> tuple[float, float]:
    """Return the 95 % interval of an area under the ROC curve, which has a width also at 1.

    Newcombe, Statistics in Medicine 2006 (part 2), method 5: the areas whose own standard
    error, by Hanley and McNeil's formula, explains the difference to the one found.

    Parameters
    ----------
    area : float
        From 0 to 1.
    n_same, n_different : float
        Numbers of independent cases of either kind, above 0.

    Raises
    ------
    InputError
        If that is no area of anything.
    """
    if not (min(n_same, n_different) > 0 and 0 <= area <= 1):
        raise InputError(
            f"There is no interval for an area of {area:g} of {n_same:g} and {n_different:g} cases."
        )
    both = (n_same + n_different) / 2 - 1
    trial = np.linspace(0.0, 1.0, 20_001)
    spread = 1 + both * ((1 - trial) / (2 - trial) + trial / (1 + trial))
    variance = trial * (1 - trial) * spread / (n_same * n_different)
    possible = trial[(trial - area) ** 2 <= _Z**2 * variance + 1e-12]
    return float(min(possible.min(), area)), float(max(possible.max(), area))


def most_wrong(n_wrong: int, n: int, population: int, confidence: float = CONFIDENCE) -> int:
    """Return how many of a population may be wrong when ``n`` of them, drawn at random, were seen.

    The exact one-sided bound of drawing without replacement: the largest number K of wrong ones
    with which so few as ``n_wrong`` would be found with a chance above ``1 - confidence``. That
    chance falls as K rises (hypergeometric law). It is Clopper and Pearson's bound (Biometrika
    1934) for a population that is not endless, and tends to theirs as the population grows.

    Parameters
    ----------
    n_wrong, n : int
        How many of the drawn ones were wrong.
    population : int
        Among how many they were drawn, themselves included.
    confidence : float

    Raises
    ------
    InputError
        If ``n_wrong`` is not between 0 and ``n``, ``n`` not between 1 and the population, or the
        confidence not between 0 and 1.
    """
    _check(n_wrong, n, population, confidence)
    low, high = n_wrong, population - (n - n_wrong)
    # So many are possible with `low`; halve to the last number with which they are.
    while low < high:
        middle = (low + high + 1) // 2
        if _chance_of_few(n_wrong, n, middle, population) > 1 - confidence:
            low = middle
        else:
            high = middle - 1
    return low


def draws_needed(population: int, share: float, confidence: float = CONFIDENCE) -> int:
    """Return how many to look at so that a share is certified if none of them is wrong.

    Of 2 % at 95 % that is 149 in any large population, and fewer in a small one.

    Parameters
    ----------
    population : int
        At least 1.
    share : float
        Between 0 and 1.
    confidence : float

    Raises
    ------
    InputError
        If a number is out of its range.
    """
    if not 0 < share < 1:
        raise InputError(f"A share to certify lies between 0 and 1, not at {share:g}.")
    _check(0, population, population, confidence)
    too_many = math.floor(share * population + 1e-9) + 1
    low, high = 1, population
    while low < high:
        middle = (low + high) // 2
        if _chance_of_few(0, middle, too_many, population) <= 1 - confidence:
            high = middle
        else:
            low = middle + 1
    return low


def _chance_of_few(most: int, n: int, wrong: int, population: int) -> float:
    """Return the chance of ``most`` wrong ones or fewer among ``n`` drawn of a population.

    The hypergeometric law's sum; scipy's own is too slow to be asked at each redraw.
    """
    fewest = max(0, n - (population - wrong))
    every = _log_choices(population, n)
    return math.fsum(
        math.exp(_log_choices(wrong, k) + _log_choices(population - wrong, n - k) - every)
        for k in range(fewest, min(most, n, wrong) + 1)
    )


def _log_choices(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _check(n_wrong: int, n: int, population: int, confidence: float) -> None:
    if not 0 <= n_wrong <= n <= population or n < 1:
        raise InputError(f"{n_wrong} wrong of {n} drawn from {population} is not possible.")
    if not 0 < confidence < 1:
        raise InputError(f"A confidence lies between 0 and 1, not at {confidence:g}.")
