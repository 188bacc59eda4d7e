"""Affine maps and thin plates as plain numbers for JSON, and back."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import Affine
from napari_neurobridge.spaces.thin_plate import ThinPlate

_Row: TypeAlias = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
_Row4: TypeAlias = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class AffineNumbers(BaseModel):
    """An `Affine` as it is stored.

    Attributes
    ----------
    source, target : str
        Names of the spaces.
    matrix : tuple of tuple of float
        Four rows, acting on (z, y, x, 1), µm to µm.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["affine"] = "affine"
    source: str
    target: str
    matrix: tuple[_Row4, _Row4, _Row4, _Row4]

    def to_transform(self) -> Affine:
        """Return the map."""
        return Affine(np.array(self.matrix), self.source, self.target)


class ThinPlateNumbers(BaseModel):
    """A `ThinPlate` as it is stored: what it passes through, not SciPy's coefficients.

    Attributes
    ----------
    base : AffineNumbers
        What the spline bends, and the names of the spaces.
    controls_um, displacement_um, smoothing, axes
        See `ThinPlate`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["thin_plate"] = "thin_plate"
    base: AffineNumbers
    controls_um: tuple[_Row, ...]
    displacement_um: tuple[_Row, ...]
    smoothing: tuple[FiniteFloat, ...]
    axes: tuple[_Row, ...]

    def to_transform(self) -> ThinPlate:
        """Return the map."""
        return ThinPlate(
            self.base.to_transform(),
            np.array(self.controls_um),
            np.array(self.displacement_um),
            np.array(self.smoothing),
            np.array(self.axes),
        )


TransformNumbers: TypeAlias = Annotated[
    AffineNumbers | ThinPlateNumbers, Field(discriminator="kind")
]
_ANY: TypeAdapter[AffineNumbers | ThinPlateNumbers] = TypeAdapter(TransformNumbers)


def to_numbers(transform: Affine | ThinPlate) -> AffineNumbers | ThinPlateNumbers:
    """Return what `to_transform` makes the same map of; ``model_dump_json`` writes it."""
    if isinstance(transform, Affine):
        return _affine_numbers(transform)
    return ThinPlateNumbers(
        base=_affine_numbers(transform.base),
        controls_um=transform.controls_um.tolist(),
        displacement_um=transform.displacement_um.tolist(),
        smoothing=transform.smoothing.tolist(),
        axes=transform.axes.tolist(),
    )


def _affine_numbers(affine: Affine) -> AffineNumbers:
    return AffineNumbers(source=affine.source, target=affine.target, matrix=affine.matrix.tolist())


def from_json(text: str) -> Affine | ThinPlate:
    """Return the map that a JSON text holds.

    Raises
    ------
    InputError
        If it holds none, or one without an inverse.
    """
    try:
        return _ANY.validate_json(text).to_transform()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise InputError(f"This is no stored transform: {where}: {first['msg']}.") from None
