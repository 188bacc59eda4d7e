"""How one dataset lies in another before anything has been registered."""

from __future__ import annotations

import re
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator

from napari_neurobridge.spaces.affine import Affine
from napari_neurobridge.types import Vec3

PRESETS = (
    "+z+y+x",
    "+z+y-x",
    "+z-y+x",
    "+z+x+y",
    "+y+z+x",
    "+y+z-x",
    "+x+z+y",
    "+x+y+z",
    "-z+y+x",
)
"""Orientations that occur often: the same axes, flipped, turned, and coronal or sagittal cuts."""

_AXIS_INDEX = {"z": 0, "y": 1, "x": 2}
_AXES_PATTERN = re.compile(r"([+-]?)([zyx])")


class Orientation(BaseModel):
    """A rough placing of one dataset's axes in a reference dataset's frame.

    A person sets it with a preview, before any registration exists. The reference is
    the two-photon dataset, whose optical axis is its z.

    Attributes
    ----------
    axes : str
        Three signed axes of this dataset, in the order in which they run along the
        reference's z, y and x. ``"+y+z-x"`` says: going deeper in the reference is going
        up in this dataset's y; the reference's y is this dataset's z; its x is
        this dataset's x reversed.
    angle_deg : float
        Remaining rotation in the reference's image plane, applied before the axes are
        renamed; positive turns the y axis towards the x axis.
    expansion : float
        Length in this dataset for each µm of the reference; below 1 for shrunken tissue.
    shift_um : Vec3
        Where the reference's centre falls, relative to this dataset's centre, µm of this
        dataset (z, y, x).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    axes: str = Field(
        default="+z+y+x",
        title="Axes",
        description="Axes of this dataset along the reference's depth, rows and columns.",
        json_schema_extra={"presets": list(PRESETS)},
    )
    angle_deg: Annotated[float, Field(ge=-180, le=180)] = Field(
        default=0.0,
        title="In-plane angle (°)",
        description="Rotation left after the axes are renamed.",
    )
    expansion: Annotated[float, Field(gt=0.05, lt=20)] = Field(
        default=1.0,
        title="Expansion",
        description="µm in this dataset for each µm of the reference; below 1: shrunken.",
    )
    shift_um: Vec3 = Field(
        default=(0.0, 0.0, 0.0),
        title="Shift (µm)",
        description="Where the reference's centre falls, from this dataset's centre.",
    )

    @field_validator("axes")
    @classmethod
    def _canonical_axes(cls, axes: str) -> str:
        found = _AXES_PATTERN.findall(axes)
        compact = re.sub(r"[\s,]", "", axes)
        if "".join(s + a for s, a in found) != compact or sorted(a for _, a in found) != [
            "x",
            "y",
            "z",
        ]:
            raise ValueError(
                f"Orientation axes must name z, y and x once each with signs, "
                f"such as '+z+y+x' or '-y,z,x', not '{axes}'."
            )
        return "".join((sign or "+") + axis for sign, axis in found)

    @property
    def axis_order(self) -> tuple[int, int, int]:
        """Which of this dataset's axes run along the reference's depth, rows and columns."""
        depth, rows, columns = (_AXIS_INDEX[axis] for axis in self.axes[1::2])
        return depth, rows, columns

    @property
    def mirrored(self) -> bool:
        """Whether the two datasets have opposite handedness."""
        return bool(np.linalg.det(self._permutation()) < 0)

    def _permutation(self) -> npt.NDArray[np.float64]:
        matrix = np.zeros((3, 3))
        for column, (sign, axis) in enumerate(_AXES_PATTERN.findall(self.axes)):
            matrix[_AXIS_INDEX[axis], column] = -1.0 if sign == "-" else 1.0
        return matrix

    def linear(self) -> npt.NDArray[np.float64]:
        """Return the (3, 3) matrix from reference offsets to offsets in this dataset, µm."""
        cos, sin = np.cos(np.deg2rad(self.angle_deg)), np.sin(np.deg2rad(self.angle_deg))
        rotation = np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])
        return np.asarray(self.expansion * self._permutation() @ rotation)

    def to_affine(
        self, *, source: str, target: str, source_center_um: Vec3, target_center_um: Vec3
    ) -> Affine:
        """Return the map from the reference (``source``) to this dataset (``target``).

        Parameters
        ----------
        source, target : str
            Names of the two spaces.
        source_center_um, target_center_um : Vec3
            Centres of the two imaged volumes, which are laid on each other, up to
            ``shift_um``.
        """
        linear = self.linear()
        translation = (
            np.asarray(target_center_um)
            + np.asarray(self.shift_um)
            - linear @ np.asarray(source_center_um)
        )
        return Affine.from_linear(linear, translation, source=source, target=target)
