"""Writing where a field lies in a volume."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.insight.registration_page import write_registration_page
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.tables import write_rows
from napari_neurobridge.registration.optical_plane import THICKNESS_UM
from napari_neurobridge.registration.plane_grid import last_um
from napari_neurobridge.spaces.transform_numbers import to_numbers
from napari_neurobridge.workflows.register_images import (
    MATCHES_NAME,
    PAGE_NAME,
    RECORD_NAME,
    RegistrationOutput,
    write_landmarks,
    write_map,
    write_plane,
)
from napari_neurobridge.workflows.transforms import TransformFormat

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.io.transforms.common import TransformFile
    from napari_neurobridge.types import Report
    from napari_neurobridge.workflows.register_volume import RegisteredVolume

RESLICED_NAME = "target-on-source.ome.tif"

_COLUMNS = (
    "source_z_um", "source_y_um", "source_x_um", "target_z_um", "target_y_um", "target_x_um",
    "probability", "confidence", "verified", "agrees",
)  # fmt: skip


def write_volume_registration(
    registered: RegisteredVolume,
    folder: Path,
    output: RegistrationOutput | None = None,
    *,
    report: Report | None = None,
) -> tuple[list[Path], TransformFile | None]:
    """Write a registration's record, matches, quality page (where a place was found) and map.

    Parameters
    ----------
    registered : RegisteredVolume
    folder : Path
        Is made; files of the same names are replaced.
    output : RegistrationOutput, optional
        ``warped`` asks for the volume re-sliced on the source's pixels.
    report : Report, optional

    Returns
    -------
    files : list of Path
    transform : TransformFile or None
        How the map was written; it is not where it was refused.

    Raises
    ------
    InputError
        If the format cannot say the map; all else is written then.
    """
    wanted = output or RegistrationOutput()
    record, matches = folder / RECORD_NAME, folder / MATCHES_NAME
    with atomic_write(record) as temporary:
        temporary.write_text(_record(registered) + "\n", encoding="utf-8")
    with atomic_write(matches) as temporary:
        write_rows(temporary, _COLUMNS, _rows(registered))
    files = [record, matches]
    if registered.planes is not None:
        files.append(write_registration_page(registered.planes, folder / PAGE_NAME))
    transform = registered.found.transform
    if transform is None or registered.planes is None:
        return files, None
    if wanted.warped:
        files.append(write_plane(registered.planes.target, folder / RESLICED_NAME))
    if wanted.transform_format is None:
        return files, None
    if wanted.transform_format == TransformFormat.BIGWARP:
        agreeing = registered.planes.found.agreeing
        here, there = (places[agreeing] for places in registered.found.places_um)
        written = write_landmarks(folder, here, there, registered.names)
    else:
        middle = registered.found.depth_um
        corners = np.array([np.zeros(3), [0.0, *last_um(registered.source)]])
        corners[:, 0] = middle - THICKNESS_UM / 2, middle + THICKNESS_UM / 2
        written = write_map(transform, folder, corners, wanted, report)
    return [*files, written.path], written


def _record(registered: RegisteredVolume) -> str:
    found = registered.found
    transform, check = found.transform, found.check
    said = found.localisation
    return json.dumps(
        {
            "decision": found.decision.model_dump(),
            "evidence": found.evidence.model_dump(),
            "transform": None if transform is None else to_numbers(transform).model_dump(),
            "depth_um": found.depth_um,
            "localisation": {
                "decision": said.decision.model_dump(),
                "evidence": said.evidence.model_dump(),
                "seconds": said.seconds,
            },
            "planes": None if check is None else json.loads(check.to_json()),
        },
        ensure_ascii=False,
    )


def _rows(registered: RegisteredVolume) -> list[list[object]]:
    check = registered.found.check
    if check is None:
        return []
    here, there = registered.found.places_um
    columns = (
        *here.T,
        *there.T,
        check.matches.probability,
        check.matches.confidence,
        check.matches.verified.astype(int),
        check.agreeing.astype(int),
    )
    return [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]
