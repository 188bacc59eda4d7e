"""Tables that people keep: somata, pairs and verdicts of a project.

Every table written says space, axis and unit: ``fmost_z_um`` is a z coordinate in µm of
the space that ``fmost_space`` names.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.project.log.notes import in_words, note_of
from napari_neurobridge.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.fold import StandingVerdict, State
    from napari_neurobridge.types import Soma

_SOMATA_OF = "somata_"
_TYPES = {"text": pa.string(), "number": pa.float64(), "count": pa.int64(), "flag": pa.bool_()}


def _schema(columns: str) -> pa.Schema:
    """Return the schema that ``"name:type name:type"`` describes."""
    return pa.schema(
        [(name, _TYPES[kind]) for name, kind in (item.split(":") for item in columns.split())],
        metadata={"axes": "z,y,x", "unit": "micrometer"},
    )


_SOMATA = _schema(
    "uid:text space:text z_um:number y_um:number x_um:number source:text radius_um:number "
    "confidence:number source_index:count index_base:count"
)
_PAIRS = _schema(
    "two_photon_uid:text fmost_uid:text "
    "two_photon_space:text two_photon_z_um:number two_photon_y_um:number two_photon_x_um:number "
    "fmost_space:text fmost_z_um:number fmost_y_um:number fmost_x_um:number "
    "annotator:text time:text similarity:number probability:number residual_um:number model:text "
    "note:text"
)
_VERDICTS = _schema(
    "event:text time:text annotator:text verdict:text query_space:text query_uid:text "
    "candidate_space:text candidate_uid:text reason:text rank:count similarity:number "
    "probability:number residual_um:number model:text alignment:text seconds:number audit:flag "
    "check:text note:text"
)


_NOTES = _schema("uid:text partner_uid:text annotator:text time:text note:text")


class TableFormat(StrEnum):
    """How tables are written."""

    CSV = "csv"
    PARQUET = "parquet"


def export_tables(project: Project, out: Path, table_format: str = TableFormat.CSV) -> list[Path]:
    """Write somata, undisputed pairs, standing verdicts and notes as tables.

    Parameters
    ----------
    project : Project
    out : Path
        Folder; it is made. Files of the same names are replaced, each in one step.
    table_format : str
        One of `TableFormat`.

    Returns
    -------
    list of Path
        ``somata_<dataset>``, ``pairs``, ``verdicts``, and ``notes`` if there are any.

    Raises
    ------
    InputError
        If the format is unknown, or ``out`` is a file.
    """
    if table_format not in list(TableFormat):
        known = " or ".join(TableFormat)
        raise InputError(f"There is no export format '{table_format}'; use {known}.")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder to export to.")
    return [
        export_table(project, name, out / f"{name}.{table_format}") for name in table_names(project)
    ]


def table_names(project: Project) -> list[str]:
    """Return the names of a project's tables.

    Those are ``somata_<dataset>``, ``pairs``, ``verdicts``, and ``notes`` if there are any, also on
    pairs that nobody has judged.
    """
    state = project.state()
    names = [*(_SOMATA_OF + name for name in state.somata), "pairs", "verdicts"]
    return [*names, "notes"] if state.notes else names


def export_table(project: Project, name: str, path: Path) -> Path:
    """Write one table, and return its path.

    Parameters
    ----------
    project : Project
    name : str
        One of `table_names`.
    path : Path
        CSV or Parquet, by its suffix; replaced in one step.

    Raises
    ------
    InputError
        If there is no such table.
    """
    if name not in table_names(project):
        known = ", ".join(table_names(project))
        raise InputError(f"There is no table '{name}'; the tables are {known}.")
    state = project.state()
    if name == "pairs":
        return _write(path, list(_pair_rows(state)), _PAIRS)
    if name == "verdicts":
        return _write(path, [_verdict_row(v, state) for v in state.verdicts], _VERDICTS)
    if name == "notes":
        return _write(path, list(_note_rows(state)), _NOTES)
    somata = state.somata[name.removeprefix(_SOMATA_OF)]
    return _write(path, [_soma_row(soma) for soma in somata.values()], _SOMATA)


def _soma_row(soma: Soma) -> dict[str, Any]:
    return {
        "uid": soma.uid,
        **_position("", soma),
        "source": soma.source,
        "radius_um": soma.radius_um,
        "confidence": soma.confidence,
        "source_index": soma.source_index,
        "index_base": soma.index_base,
    }


def _position(prefix: str, soma: Soma) -> dict[str, Any]:
    z_um, y_um, x_um = soma.center_um
    return {
        f"{prefix}space": soma.dataset,
        f"{prefix}z_um": z_um,
        f"{prefix}y_um": y_um,
        f"{prefix}x_um": x_um,
    }


def _pair_rows(state: State) -> Iterator[dict[str, Any]]:
    """Yield one row for each undisputed pair, with the latest acceptance behind it."""
    accepted = {v.pair: v for v in state.verdicts if v.verdict is Verdict.ACCEPT}
    for pair in state.agreed:
        two_photon, fmost = map(state.soma, pair)
        yield {
            "two_photon_uid": two_photon.uid,
            "fmost_uid": fmost.uid,
            **_position("two_photon_", two_photon),
            **_position("fmost_", fmost),
            **_evidence(accepted[pair]),
            "note": in_words(state.notes.get(pair, ())) or None,
        }


def _note_rows(state: State) -> Iterator[dict[str, Any]]:
    for uids, notes in sorted(state.notes.items()):
        uid, partner = (*uids, None)[:2]
        for note in notes:
            yield {
                "uid": uid,
                "partner_uid": partner,
                "annotator": note.annotator,
                "time": note.time,
                "note": note.text,
            }


def _verdict_row(verdict: StandingVerdict, state: State) -> dict[str, Any]:
    evidence = verdict.evidence
    return {
        "event": verdict.event_id,
        "verdict": verdict.verdict,
        "query_space": verdict.query_dataset,
        "query_uid": verdict.query_uid,
        "candidate_space": verdict.candidate_dataset,
        "candidate_uid": verdict.candidate_uid,
        "reason": verdict.reason,
        "rank": evidence.rank,
        "alignment": evidence.alignment_id,
        "seconds": evidence.seconds,
        "audit": evidence.audit,
        "check": evidence.check,
        **_evidence(verdict),
        "note": note_of(state.notes, verdict.noted, verdict.annotator) or None,
    }


def _evidence(verdict: StandingVerdict) -> dict[str, Any]:
    evidence = verdict.evidence
    return {
        "annotator": verdict.annotator,
        "time": verdict.time,
        "similarity": evidence.similarity,
        "probability": evidence.probability,
        "residual_um": evidence.residual_um,
        "model": evidence.model_hash,
    }


def _write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> Path:
    table = pa.Table.from_pylist(rows, schema=schema)
    with atomic_write(path) as temporary:
        if path.suffix == ".csv":
            options = pyarrow.csv.WriteOptions(quoting_style="needed")
            pyarrow.csv.write_csv(table, temporary, options)
        else:
            pyarrow.parquet.write_table(table, temporary)
    return path
