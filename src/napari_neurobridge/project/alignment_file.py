"""An alignment with its uncertain matches on disk, so that all programs use the same one.

``transforms/<source>--<target>.npz`` holds the numbers of the last match and the key of what
it was matched from. Where the accepted pairs or the orientation are others by now, the file
is out of date and not used.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.parser_race import despite_parser_race
from napari_neurobridge.spaces.alignment import Alignment, MadeFrom
from napari_neurobridge.spaces.gaussian_process import DeformationPrior, WeightedFeatures
from napari_neurobridge.spaces.landmarks import Landmarks
from napari_neurobridge.spaces.similarity import Similarity

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

_SCHEMA = 1


def write_alignment(path: Path, alignment: Alignment, key: str) -> None:
    """Write an alignment whose displacement is on weighted features; ``mean`` is kept elsewhere.

    Parameters
    ----------
    path : Path
    alignment : Alignment
    key : str
        Of what it was matched from.
    """
    regression, similarity = alignment.regression, alignment.similarity
    if not isinstance(regression, WeightedFeatures):
        raise TypeError("only an alignment on weighted features can be written")
    about = {
        "schema": _SCHEMA,
        "key": key,
        "source": alignment.source,
        "target": alignment.target,
        "kind": alignment.kind,
        "scale": similarity.scale,
        "prior": asdict(alignment.prior),
        "made_from": asdict(alignment.made_from),
        "notes": alignment.notes,
        "hand_known": alignment.hand_known,
        "hand_notes": alignment.hand_notes,
    }
    with atomic_write(path) as temporary, temporary.open("wb") as handle:
        np.savez(
            handle,
            allow_pickle=False,
            about=np.array(json.dumps(about)),
            rotation=similarity.rotation,
            source_center_um=similarity.source_center_um,
            target_center_um=similarity.target_center_um,
            landmarks_um=np.stack([alignment.landmarks.source_um, alignment.landmarks.target_um]),
            sigma_um=alignment.landmarks.sigma(alignment.prior),
            wrong=alignment.wrong,
            support=regression.support,
            factor=regression.factor,
            weights=regression.mean,
        )


@despite_parser_race
def read_alignment(path: Path, key: str) -> Alignment | None:
    """Return the alignment of a file; None if there is none, or of another key, or a damaged one.

    Nothing is lost by the latter: matching again writes it anew. Its ``mean`` is missing, if it
    was made from a registration.
    """
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            if about["schema"] != _SCHEMA or about["key"] != key:
                return None
            values = {name: arrays[name] for name in arrays.files if name != "about"}
        if not all(np.isfinite(value).all() for value in values.values()):
            return None
        return _alignment(about, values)
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile):
        return None


def _alignment(about: dict[str, Any], values: dict[str, npt.NDArray[np.float64]]) -> Alignment:
    prior = DeformationPrior(**about["prior"])
    return Alignment(
        about["source"],
        about["target"],
        # Files of earlier versions know of somata alone, whose uncertainty is the prior's.
        Landmarks(values["landmarks_um"][0], values["landmarks_um"][1], values.get("sigma_um")),
        values["wrong"],
        Similarity(
            values["rotation"],
            about["scale"],
            values["source_center_um"],
            values["target_center_um"],
        ),
        prior,
        about["kind"],
        tuple(about["notes"]),
        about["hand_known"],
        tuple(about["hand_notes"]),
        WeightedFeatures(prior, values["support"], values["factor"], values["weights"]),
        made_from=MadeFrom(**about["made_from"]),
    )
