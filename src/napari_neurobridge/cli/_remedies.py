"""What to type about an error: the command line's words for what lower layers report."""

from napari_neurobridge.errors import ErrorKind, NeuroBridgeError, with_remedy

REMEDIES = {
    ErrorKind.NO_PROJECT: "make a project with 'neurobridge init'",
    ErrorKind.NO_DATASET: "add it with 'neurobridge add-dataset'",
    ErrorKind.NO_SOMATA: "run 'neurobridge detect', or add a dataset of points",
    ErrorKind.NOT_INDEXED: "run 'neurobridge index'",
    ErrorKind.LOCKED: "wait for it, or delete the lock file if its process is gone",
    ErrorKind.TOO_FEW_PAIRS: "accept some with 'neurobridge annotate'",
    ErrorKind.NO_ANNOTATOR: "give one with --annotator",
    ErrorKind.NO_MODEL: "'neurobridge models' lists the models",
    ErrorKind.NO_VOXEL_SIZE: "give it in µm (z y x) with --voxel-two-photon or --voxel-fmost",
    ErrorKind.UNKNOWN_AXES: (
        "give their order with --axes, such as zyx for a stack or tyx for a recording"
    ),
    ErrorKind.NO_PIXEL_SIZE: "give it with --pixel-um, or in µm (z y x) with --voxel-size",
    ErrorKind.NO_DEPTH: "give the depth of their plane in µm with --z",
    ErrorKind.NOT_CLASSIFIED: "take all of them with --all",
    ErrorKind.UNKNOWN_ROWS: "say which with --counted file or --counted kept",
    ErrorKind.NO_SESSION: "state it twice with --session DATASET=N, counted from 0",
    ErrorKind.NO_ROIS: "import them with 'neurobridge import-rois'",
    ErrorKind.UNKNOWN_UNIT: "give its size with --um-per-unit (1 for µm, 25 for a 25 µm atlas)",
    ErrorKind.NO_PLANE_PIXEL_SIZE: "give it in µm with --source-pixel or --target-pixel",
    ErrorKind.NO_TARGET_VOXEL_SIZE: "give it in µm (z y x) with --target-voxel",
    ErrorKind.NO_PROJECTION: "say how they become one with --project max or mean",
    ErrorKind.BEYOND_NGFF_05: "ask for that version with --ngff-version 0.6",
}


def explain(error: NeuroBridgeError) -> str:
    """Return the sentence that is printed about an error."""
    return with_remedy(str(error), REMEDIES.get(error.kind) if error.kind else None)
