"""Errors whose message is shown to a person: what is wrong, and of which kind it is."""

from enum import StrEnum


class ErrorKind(StrEnum):
    """What is wrong, where the remedy differs between command line and docks.

    The layers that raise an error know neither commands nor docks; each face has one place that
    adds the remedy in its own words (`cli._remedies`, `workbench.remedies`).
    """

    NO_PROJECT = "no project"
    NO_DATASET = "no such dataset"
    NO_SOMATA = "no somata"
    NOT_INDEXED = "not indexed"
    LOCKED = "held by a long job"
    TOO_FEW_PAIRS = "too few pairs"
    NO_ANNOTATOR = "no annotator"
    NO_MODEL = "no such model"
    NO_VOXEL_SIZE = "no voxel size"
    UNKNOWN_AXES = "unknown axes"
    NO_PIXEL_SIZE = "no pixel size of regions"
    NO_DEPTH = "no depth of regions"
    NOT_CLASSIFIED = "not known which regions are cells"
    UNKNOWN_ROWS = "not known which regions are counted"
    NO_SESSION = "not known which session a dataset is"
    NO_ROIS = "no imported regions"
    UNKNOWN_UNIT = "unknown unit of a morphology"
    NO_PLANE_PIXEL_SIZE = "no pixel size of a plane"
    NO_TARGET_VOXEL_SIZE = "no target voxel size"
    NO_PROJECTION = "a stack where a plane is needed"
    BEYOND_NGFF_05 = "a map that OME-NGFF 0.5 cannot say"


class NeuroBridgeError(Exception):
    """Something failed; the message is one clear sentence for the user.

    The command line prints the message on stderr and exits with ``exit_code``; the
    docks show it beside the control that caused it.

    Parameters
    ----------
    message : str
        What is wrong; how to mend it only where that is the same for everybody.
    kind : ErrorKind, optional
        For the remedy that command line or dock adds.
    """

    exit_code = 1

    def __init__(self, message: str = "", *, kind: ErrorKind | None = None) -> None:
        super().__init__(message)
        self.kind = kind


def with_remedy(message: str, remedy: str | None) -> str:
    """Return one sentence of an error's message and what to do about it."""
    return f"{message.rstrip('.')}; {remedy}." if remedy else message


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
    kind : ErrorKind, optional
    """

    def __init__(
        self, message: str, *, kind: ErrorKind | None = None, forceable: bool = False
    ) -> None:
        super().__init__(message, kind=kind)
        self.forceable = forceable


class Cancelled(NeuroBridgeError):
    """The user stopped a running job; what was finished before is kept."""

    exit_code = 130
