"""NumPy's files read by several threads at once.

NumPy reads the header of an array by Python's own parser. Before Python 3.13 that counts its depth
for all threads together, and now and then finds it "mismatched" when two of them parse at once
(CPython issue 106905).
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

_TRIES = 5
_WORDS = "recursion depth mismatch"


def despite_parser_race(function: Callable[P, R]) -> Callable[P, R]:
    """Call a function that reads arrays again if another thread disturbed Python's parser.

    Parameters
    ----------
    function : callable
        Without effects of its own.
    """

    @wraps(function)
    def again(*args: P.args, **kwargs: P.kwargs) -> R:
        for _ in range(_TRIES - 1):
            try:
                return function(*args, **kwargs)
            except SystemError as error:
                if _WORDS not in str(error):
                    raise
        return function(*args, **kwargs)

    return again
