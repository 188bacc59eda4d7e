"""What to click about an error: the docks' words for what lower layers report."""

from napari_neurobridge.errors import ErrorKind, NeuroBridgeError, with_remedy

REMEDIES = {
    ErrorKind.NO_PROJECT: "open or create a project in the Data dock",
    ErrorKind.NO_DATASET: "create the project anew in the Data dock, with images or points of both",
    ErrorKind.NO_SOMATA: "press Detect somata in the Data dock, or import points",
    ErrorKind.NOT_INDEXED: "press Index in the Data dock",
    ErrorKind.LOCKED: "wait for it, or delete the lock file if its process is gone",
    ErrorKind.TOO_FEW_PAIRS: "accept some in the Match dock",
    ErrorKind.NO_MODEL: "choose another model",
    ErrorKind.NO_VOXEL_SIZE: "state it as 'voxel size' in the Data dock",
    ErrorKind.NO_PIXEL_SIZE: "type it as 'pixel of ROIs' beside Import ROIs in the Data dock",
    ErrorKind.NO_DEPTH: "type it as 'depth of ROIs' beside Import ROIs in the Data dock",
    ErrorKind.NOT_CLASSIFIED: "tick 'also what is no cell' beside Import ROIs in the Data dock",
    ErrorKind.UNKNOWN_ROWS: "choose it as 'numbers count' beside Import pairs in the Data dock",
    ErrorKind.NO_ROIS: "import them with Import ROIs in the Data dock",
    ErrorKind.UNKNOWN_AXES: "state their order as 'axes' in the Data dock",
}
"""Kinds without an entry cannot be mended in a dock, or do not occur there."""


def explain(error: NeuroBridgeError) -> str:
    """Return the sentence that is shown about an error."""
    return explain_kind(str(error), error.kind)


def explain_kind(message: str, kind: ErrorKind | None) -> str:
    """Return the sentence that is shown about a message and its kind."""
    return with_remedy(message, REMEDIES.get(kind) if kind else None)
