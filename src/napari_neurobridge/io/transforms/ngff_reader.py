"""Reading OME-NGFF: the map that an OME-Zarr 0.5 or 0.6 group holds; see `ngff` for the formats.

Of 0.6, identity, scale, translation, rotation, affine, mapAxis, displacements, and sequences and
bijections of them are understood, between coordinate systems of three spatial axes in any order
and with any unit of length.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.ome_zarr import READ_ERRORS
from napari_neurobridge.io.source import um_per_unit
from napari_neurobridge.io.transforms.common import (
    ReadStep,
    SampledField,
    joined,
    require_finite,
    require_um,
)
from napari_neurobridge.io.transforms.ngff import NAMES_KEY

if TYPE_CHECKING:
    from napari_neurobridge.spaces.graph import Transform

Float64Array = npt.NDArray[np.float64]

_V06 = ("0.6", "0.6rc0")


def read_ngff(
    path: str | Path, *, source: str | None = None, target: str | None = None
) -> Transform:
    """Read the map that an OME-Zarr group holds.

    Parameters
    ----------
    path : str or Path
        Folder, as `write_ngff` writes or of another program.
    source, target : str, optional
        Names of the coordinate systems that the map is to lead from and to; of a 0.6 file with
        more than one transformation they choose, and a map the other way is inverted.

    Returns
    -------
    Transform
        An Affine, a DisplacementGrid or several of them, from µm to µm, (z, y, x).

    Raises
    ------
    InputError
        If the folder is damaged, of another version, in two dimensions, without units, or holds
        no map between the two spaces, or one that is not understood.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no folder {path}.")
    try:
        group = zarr.open_group(path, mode="r")
        ome = _attributes(group).get("ome")
        version = ome.get("version") if isinstance(ome, dict) else None
        if not isinstance(ome, dict) or version is None:
            raise InputError(f"{path} is no OME-NGFF 0.5 or 0.6 group: it does not say a version.")
        if version == "0.5":
            found = _read_05(group, ome, path, source, target)
        elif version in _V06:
            found = _read_06(group, ome, path, source, target)
        else:
            raise InputError(
                f"{path} is of OME-NGFF version {version}; maps are read from 0.5 and 0.6."
            )
    except InputError:
        raise
    except READ_ERRORS as error:
        raise InputError(f"{path} is no readable OME-NGFF map: {error}.") from error
    return found


def _read_05(
    group: zarr.Group, ome: dict[str, Any], path: Path, source: str | None, target: str | None
) -> Transform:
    multiscale = ome["multiscales"][0]
    given = multiscale.get("coordinateTransformations")
    if not given:
        raise InputError(f"{path} is an image, and holds no map from it to another space.")
    names = _attributes(group).get(NAMES_KEY, {})
    ends = source or names.get("source", "source"), target or names.get("target", "target")
    if names and ends != (names.get("source"), names.get("target")):
        raise InputError(
            f"{path} maps '{names.get('source')}' to '{names.get('target')}', not "
            f"'{ends[0]}' to '{ends[1]}'."
        )
    # 0.5 has one set of axes, on both sides of the map.
    to_um = _to_um(multiscale["axes"], path)
    steps = [step for one in given for step in _steps(one, group, path, ["z", "y", "x"])]
    found = joined([_inverse(to_um), *steps, to_um], *ends)
    require_um(found, path)
    return found


def _read_06(
    group: zarr.Group, ome: dict[str, Any], path: Path, source: str | None, target: str | None
) -> Transform:
    holder = ome.get("scene") or ome["multiscales"][0]
    given = holder.get("coordinateTransformations") or []
    ends = [(_name(one["input"]), _name(one["output"])) for one in given]
    wanted = [
        (one, backwards)
        for one, (start, end) in zip(given, ends, strict=True)
        for backwards, (first, last) in ((False, (start, end)), (True, (end, start)))
        if source in (None, first) and target in (None, last)
    ]
    forward = [one for one, backwards in wanted if not backwards]
    if not wanted or len(forward) > 1:
        there = ", ".join(f"'{start}' to '{end}'" for start, end in ends) or "none"
        which = f"'{source}' to '{target}'" if source and target else "one between two spaces"
        raise InputError(f"{path} does not say which map is {which}; its maps: {there}.")
    one = forward[0] if forward else wanted[0][0]
    axes = [_axes_of(group, holder, one[side], path) for side in ("input", "output")]
    into, out = (_to_um(side, path) for side in axes)
    names = [axis["name"] for axis in axes[0]]
    steps = [_inverse(into), *_steps(one, group, path, names), out]
    found = joined(steps, _name(one["input"]), _name(one["output"]))
    require_um(found, path)
    return found if forward else found.inverse()


def _attributes(group: zarr.Group) -> dict[str, Any]:
    return dict(group.attrs)


def _inverse(matrix: Float64Array) -> Float64Array:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _name(reference: dict[str, Any]) -> str:
    return str(reference["name"])


def _axes_of(
    group: zarr.Group, holder: dict[str, Any], reference: dict[str, Any], path: Path
) -> list[dict[str, Any]]:
    """Return the axes of a coordinate system, of this group or of an image below it."""
    systems = holder.get("coordinateSystems", [])
    if reference.get("path"):
        image = group[reference["path"]]
        if not isinstance(image, zarr.Group):
            raise TypeError(f"{reference['path']} is no group")
        systems = _attributes(image)["ome"]["multiscales"][0]["coordinateSystems"]
    for system in systems:
        if system["name"] == reference["name"]:
            return list(system["axes"])
    raise InputError(f"{path} does not describe the coordinate system '{reference['name']}'.")


def _to_um(axes: list[dict[str, Any]], path: Path) -> Float64Array:
    """Return the (4, 4) matrix from coordinates along some axes to µm, (z, y, x)."""
    names = [str(axis["name"]).lower() for axis in axes]
    if sorted(names) != ["x", "y", "z"]:
        raise InputError(
            f"{path} is about the axes {', '.join(names)}; a map between volumes needs z, y and x."
        )
    matrix = np.eye(4)
    matrix[:3, :3] = 0.0
    for column, axis in enumerate(axes):
        size = um_per_unit(axis.get("unit"))
        if size is None:
            raise InputError(
                f"{path} does not say the unit of its axis '{axis['name']}', such as micrometer."
            )
        matrix["zyx".index(names[column]), column] = size
    return matrix


def _steps(one: dict[str, Any], group: zarr.Group, path: Path, names: list[str]) -> list[ReadStep]:
    """Return the steps of one transformation, on coordinates in the order of its axes."""
    kind = one["type"]
    if kind == "sequence":
        return [
            step for part in one["transformations"] for step in _steps(part, group, path, names)
        ]
    if kind == "bijection":
        return _steps(one["forward"], group, path, names)
    if kind == "displacements":
        return [_field(one, group, path, names)]
    matrix = np.eye(4)
    if kind == "scale":
        matrix[:3, :3] = np.diag(_numbers(one["scale"], (3,), path))
    elif kind == "translation":
        matrix[:3, 3] = _numbers(one["translation"], (3,), path)
    elif kind == "affine":
        matrix[:3] = _numbers(_inline_or_array(one, group), (3, 4), path)
    elif kind == "rotation":
        matrix[:3, :3] = _numbers(_inline_or_array(one, group), (3, 3), path)
    elif kind == "mapAxis":
        matrix[:3, :3] = np.eye(3)[np.asarray(one["mapAxis"], dtype=int)]
    elif kind != "identity":
        raise InputError(f"{path} holds a transformation of type '{kind}', which is not read.")
    return [matrix]


def _inline_or_array(one: dict[str, Any], group: zarr.Group) -> Any:
    return one[one["type"]] if one["type"] in one else _array(group, one["path"])[:]


def _numbers(values: Any, shape: tuple[int, ...], path: Path) -> Float64Array:
    found = np.asarray(values, dtype=np.float64)
    if found.shape != shape:
        raise InputError(
            f"{path} holds a transformation of shape {found.shape}; three axes need {shape}."
        )
    require_finite(found, path)
    return found


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise TypeError(f"{name} is no array")
    return found


def _field(one: dict[str, Any], group: zarr.Group, path: Path, names: list[str]) -> SampledField:
    """Read the displacements of the finest level of a multiscale group."""
    if one.get("interpolation", "linear") != "linear":
        raise InputError(
            f"{path} asks for {one['interpolation']} interpolation of its displacements; only "
            "linear is read."
        )
    field = group[one["path"]]
    if not isinstance(field, zarr.Group):
        raise TypeError(f"{one['path']} is no group")
    multiscale = _attributes(field)["ome"]["multiscales"][0]
    dataset = multiscale["datasets"][0]
    axes = multiscale["coordinateSystems"][0]["axes"]
    if axes[0].get("type") != "displacement" or [axis["name"] for axis in axes[1:]] != names:
        said = ", ".join(str(axis["name"]) for axis in axes)
        raise InputError(
            f"{path} has displacements along the axes {said}; they must be the components and then "
            f"{', '.join(names)}."
        )
    scale, offset = _placed(dataset["coordinateTransformations"], path)
    values = np.asarray(_array(field, str(dataset["path"]))[:], dtype=np.float64)
    if values.ndim != 4 or values.shape[0] != 3:
        raise InputError(f"{path} has displacements of shape {values.shape}, not (3, Z, Y, X).")
    require_finite(values, path)
    return SampledField(np.moveaxis(values, 0, 3), offset, scale)


def _placed(given: list[dict[str, Any]], path: Path) -> tuple[Float64Array, Float64Array]:
    """Return step and origin of a field's nodes along its three spatial axes."""
    scale, offset = np.ones(3), np.zeros(3)
    for one in given:
        for part in one["transformations"] if one["type"] == "sequence" else [one]:
            if part["type"] == "scale":
                factors = _numbers(part["scale"][-3:], (3,), path)
                scale, offset = scale * factors, offset * factors
            elif part["type"] == "translation":
                offset = offset + _numbers(part["translation"][-3:], (3,), path)
            elif part["type"] != "identity":
                raise InputError(f"{path} places its displacements by a '{part['type']}'.")
    return scale, offset
