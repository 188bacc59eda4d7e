"""ITK transforms, ``.tfm`` and ``.h5``, through SimpleITK.

ITK's points are (x, y, z), here in µm as everywhere in the project; by convention most programs
take them as mm, and ITK itself knows no unit. ITK's transforms take a point of the *fixed* image
to one of the *moving* image, so that ``Resample`` draws the moving image on the fixed grid ("The
ITK Software Guide", book 2, chapter "Registration"). A map from a source to a target is
therefore the transform with the source fixed and the target moving, and nothing is inverted.

An affine becomes an ``AffineTransform`` about the origin. Any other map becomes a
``CompositeTransform`` that applies a ``DisplacementFieldTransform`` first and an affine second;
ITK interpolates the field linearly, and displaces nothing beyond half a step outside its grid.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.transforms.common import (
    GridSettings,
    ReadStep,
    SampledField,
    TransformFile,
    as_affine_or_grid,
    joined,
    require_finite,
    require_um,
)
from napari_neurobridge.spaces.affine import Affine

if TYPE_CHECKING:
    from napari_neurobridge.spaces.displacement_grid import DisplacementGrid
    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.types import Report

ITK_SUFFIXES = (".tfm", ".h5")
"""Text, for affines; HDF5, for both."""
ITK_UNITS = {"µm": 1.0, "um": 1.0, "mm": 1e3}
"""µm in each unit that a file may be in."""

# (z, y, x) <-> (x, y, z)
_TURN = np.eye(3)[::-1]
_PROBE = np.vstack([np.zeros(3), np.eye(3)])


def _simple_itk() -> Any:
    try:
        import SimpleITK
    except ImportError:
        raise InputError(
            "ITK transforms need SimpleITK; install it with "
            "`pip install napari-neurobridge[register]`."
        ) from None
    return SimpleITK


def write_itk(
    transform: Transform,
    path: str | Path,
    corners_um: npt.ArrayLike,
    *,
    settings: GridSettings | None = None,
    report: Report | None = None,
) -> TransformFile:
    """Write a map as an ITK transform, its source fixed and its target moving.

    Parameters
    ----------
    transform : Transform
    path : str or Path
        ``.tfm`` or ``.h5``; the latter for a map that is no affine.
    corners_um : array_like, shape (2, 3)
        Box in which it is to hold, µm (z, y, x) of its source.
    settings : GridSettings, optional
        For maps that are no affine.
    report : Report, optional

    Raises
    ------
    InputError
        If SimpleITK is not installed, or the suffix is another or does not fit.
    """
    sitk, path = _simple_itk(), Path(path)
    if path.suffix not in ITK_SUFFIXES:
        raise InputError(f"An ITK transform is written as {' or '.join(ITK_SUFFIXES)}, not {path}.")
    written = as_affine_or_grid(transform, corners_um, settings or GridSettings(), report)
    if isinstance(written, Affine):
        made = _as_itk_affine(written)
    elif path.suffix == ".tfm":
        raise InputError(
            f"The map from '{written.source}' to '{written.target}' is no affine, and its "
            f"displacements need an HDF5 file: {path.with_suffix('.h5')}."
        )
    else:
        # The transform that is added last is applied first.
        made = sitk.CompositeTransform([_as_itk_affine(written.affine), _as_itk_field(written)])
    with atomic_write(path) as temporary:
        sitk.WriteTransform(made, str(temporary))
    return TransformFile.of(path, "itk", "", written)


def read_itk(
    path: str | Path, *, source: str = "source", target: str = "target", unit: str = "µm"
) -> Transform:
    """Read an ITK transform: affines and displacement fields, and composites of them.

    Parameters
    ----------
    path : str or Path
    source, target : str
        Names of the fixed and the moving image's space, which no ITK file says.
    unit : str
        Of the file's points: one of `ITK_UNITS`.

    Returns
    -------
    Transform
        An Affine, a DisplacementGrid or several of them, from µm to µm, (z, y, x).

    Raises
    ------
    InputError
        If SimpleITK is not installed, the file is damaged, in two dimensions, evidently in
        another unit, or holds another kind of transform.
    """
    sitk, path = _simple_itk(), Path(path)
    if unit not in ITK_UNITS:
        raise InputError(f"ITK transforms are read in {' or '.join(ITK_UNITS)}, not '{unit}'.")
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    try:
        found = sitk.ReadTransform(str(path))
        if found.GetDimension() != 3:
            raise InputError(
                f"{path} is a transform of {found.GetDimension()} dimensions; a map between "
                "volumes needs 3."
            )
        steps = _steps(found, path, sitk)
    except RuntimeError as error:
        why = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"{path} is no readable ITK transform: {why}.") from error
    size = ITK_UNITS[unit]
    scaling = np.diag([size, size, size, 1.0])
    made = joined([np.diag(1 / np.diag(scaling)), *steps, scaling], source, target)
    require_um(made, path)
    return made


def _as_itk_affine(affine: Affine) -> Any:
    made = _simple_itk().AffineTransform(3)
    made.SetMatrix((_TURN @ affine.linear @ _TURN).ravel().tolist())
    made.SetTranslation((_TURN @ affine.translation).tolist())
    return made


def _as_itk_field(grid: DisplacementGrid) -> Any:
    sitk = _simple_itk()
    image = sitk.GetImageFromArray(
        np.ascontiguousarray(grid.displacement_um[..., ::-1]), isVector=True
    )
    image.SetSpacing((_TURN @ grid.step_um).tolist())
    image.SetOrigin((_TURN @ grid.origin_um).tolist())
    return sitk.DisplacementFieldTransform(image)


def _steps(found: Any, path: Path, sitk: Any) -> list[ReadStep]:
    """Return the steps of a transform in the order in which they are applied, (z, y, x)."""
    kind = found.GetTransformEnum()
    if kind == sitk.sitkComposite:
        whole = sitk.CompositeTransform(found)
        parts = [whole.GetNthTransform(i) for i in range(whole.GetNumberOfTransforms())]
        return [step for part in reversed(parts) for step in _steps(part, path, sitk)]
    if kind == sitk.sitkDisplacementField:
        return [_as_field(sitk.DisplacementFieldTransform(found), path, sitk)]
    if not found.IsLinear():
        raise InputError(
            f"{path} holds a {found.GetName()}; affines and displacement fields are read."
        )
    # Euler angles, versors and others need not be told apart.
    mapped = np.array([found.TransformPoint(place.tolist()) for place in _PROBE])
    require_finite(mapped, path)
    matrix = np.eye(4)
    matrix[:3, :3] = _TURN @ (mapped[1:] - mapped[0]).T @ _TURN
    matrix[:3, 3] = _TURN @ mapped[0]
    return [matrix]


def _as_field(found: Any, path: Path, sitk: Any) -> SampledField:
    image = found.GetDisplacementField()
    if not np.allclose(image.GetDirection(), np.eye(3).ravel()):
        raise InputError(f"{path} holds a displacement field on a turned grid, which is not read.")
    values = np.asarray(sitk.GetArrayFromImage(image), dtype=np.float64)[..., ::-1]
    require_finite(values, path)
    return SampledField(
        values, np.array(image.GetOrigin()[::-1]), np.array(image.GetSpacing()[::-1])
    )
