"""Errors whose message is shown to a person: what happened, and how to mend it."""


class NeuroBridgeError(Exception):
    """Something failed; the message is one clear sentence for the user.

    The command line prints the message on stderr and exits with ``exit_code``; the
    docks show it beside the control that caused it.
    """

    exit_code = 1


class InputError(NeuroBridgeError):
    """The input or the way of use is wrong, and the user can mend it."""

    exit_code = 2


class InvalidActionError(InputError):
    """An action contradicts what the project already records.

    Parameters
    ----------
    message : str
        One sentence that names the contradiction.
    forceable : bool
        Whether the user may carry the action out all the same. The model only says
        that it is possible; asking is the view's business.
    """

    def __init__(self, message: str, *, forceable: bool = False) -> None:
        super().__init__(message)
        self.forceable = forceable


class Cancelled(NeuroBridgeError):
    """The user stopped a running job; what was finished before is kept."""

    exit_code = 130
