"""The kinds of generated fields: geometry, deformation, noise, and what else may be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.benchmarks.fields_deformation import (
    DeformationPart,
    ShearBands,
    Sheet,
    Tear,
    Waves,
    WindowCompression,
)
from napari_neurobridge.benchmarks.fields_tissue import SomaLayout

if TYPE_CHECKING:
    from collections.abc import Callable

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """How exactly somata of the queries' side are located.

    Attributes
    ----------
    sd_um : float
        Standard deviation of y and of x; that of z is `axial` times as large.
    degrees_of_freedom : float, optional
        Of a multivariate Student distribution of that standard deviation; normal unless given.
    axial : float
    """

    sd_um: float = 1.5
    degrees_of_freedom: float | None = None
    axial: float = 1.5

    def draw(self, count: int, rng: np.random.Generator) -> Float64Array:
        """Return errors, shape (count, 3), µm (z, y, x)."""
        errors = rng.normal(size=(count, 3)) * self.sd_um * np.array([self.axial, 1.0, 1.0])
        if self.degrees_of_freedom is None:
            return np.asarray(errors)
        # The variance of a Student distribution is ν / (ν - 2).
        freedom = self.degrees_of_freedom
        wide = np.sqrt((freedom - 2) / rng.chisquare(freedom, count))
        return np.asarray(errors * wide[:, None])


@dataclass(frozen=True)
class Geometry:
    """What tissue there is, and which part of it the queries' microscope sees.

    Attributes
    ----------
    tissue : SomaLayout
    field_um : tuple of float
        Edges (z, y, x) of the field around the origin, in the queries' frame.
    n_queries : int
        At most so many of the field's somata are queries, and at most 80 % in a volume.
    flat : bool
        The queries' z is that of the field's middle, whatever it truly is.
    any_rotation : bool
        Whether the gallery is turned about any axis, or about z only.
    """

    tissue: SomaLayout
    field_um: tuple[float, float, float]
    n_queries: int
    flat: bool = False
    any_rotation: bool = True


@dataclass(frozen=True)
class FieldKind:
    """A composition of geometry, deformation, noise and what else may be wrong.

    Attributes
    ----------
    about : str
    geometry : callable
        Draws it from a generator of random numbers.
    bends : tuple of DeformationPart
        From tissue to the queries' frame.
    gallery_bends : tuple of DeformationPart
        From tissue to the gallery's frame, before rotation and scale.
    noise : Noise
    missing : float
        Share of all somata that the gallery lacks, and at least of those that the queries lack.
    overlap : float
        Share of the field that lies within the gallery.
    duplicates : float
        Share of somata that are detected twice, on either side.
    landmarks : int
        Pairs given unless others are asked for.
    wrong : float
        Share of the landmarks that are wrong: half a neighbour, half any cell.
    corner : bool
        Landmarks are among the cells nearest to one corner of the field.
    """

    about: str
    geometry: Callable[[np.random.Generator], Geometry]
    bends: tuple[DeformationPart, ...] = (Waves(12.0, 300.0),)
    gallery_bends: tuple[DeformationPart, ...] = ()
    noise: Noise = Noise()
    missing: float = 0.0
    overlap: float = 1.0
    duplicates: float = 0.0
    landmarks: int = 10
    wrong: float = 0.0
    corner: bool = False


def _volume(rng: np.random.Generator, *, clustered: bool = False) -> Geometry:
    """Cortex of 25,000 to 80,000 somata/mm³; the gallery extends 150 µm beyond the field."""
    deep = rng.uniform(100, 250)
    density = rng.uniform(25_000, 80_000) * 1e-9
    box = (deep + 150.0, 700.0, 700.0)
    tissue = SomaLayout(box, round(density * np.prod(box)), clustered=clustered)
    return Geometry(tissue, (deep, 400.0, 400.0), min(400, round(0.8 * density * deep * 400**2)))


def _clusters(rng: np.random.Generator) -> Geometry:
    return _volume(rng, clustered=True)


def _plane(_: np.random.Generator) -> Geometry:
    """One plane on either side, some 300 cells each if 30 % are missing."""
    tissue = SomaLayout((4.0, 540.0, 540.0), 430)
    return Geometry(tissue, (20.0, 520.0, 520.0), 300, any_rotation=False)


def _plane_in_volume(_: np.random.Generator) -> Geometry:
    return Geometry(SomaLayout((520.0, 800.0, 800.0), 20_000), (10.0, 700.0, 700.0), 250, flat=True)


def _stack(_: np.random.Generator) -> Geometry:
    """Four planes 30 µm apart on either side."""
    tissue = SomaLayout((4.0, 650.0, 650.0), 1600, layers_um=(-45.0, -15.0, 15.0, 45.0))
    return Geometry(tissue, (120.0, 450.0, 450.0), 400, any_rotation=False)


def _slab(_: np.random.Generator) -> Geometry:
    tissue = SomaLayout((40.0, 800.0, 800.0), 1500)
    return Geometry(tissue, (60.0, 500.0, 500.0), 400)


def _sheet(_: np.random.Generator) -> Geometry:
    tissue = SomaLayout((4.0, 800.0, 800.0), 960)
    return Geometry(tissue, (20.0, 500.0, 500.0), 300)


def _sheet_in_volume(_: np.random.Generator) -> Geometry:
    """One plane on the one side, a volume of 140 µm on the other."""
    return Geometry(SomaLayout((140.0, 850.0, 850.0), 6000), (10.0, 650.0, 650.0), 200, flat=True)


_FLAT_WAVES = Waves(12.0, 300.0, flat=True)
_GENTLE = Waves(6.0, 350.0)

KINDS = {
    "volume": FieldKind("a gently bent volume", _volume, (_GENTLE,)),
    "short-bends": FieldKind("bent by 20 µm rms in 250 µm", _volume, (Waves(20.0, 250.0),)),
    "long-bends": FieldKind(
        "bent by 40 µm rms in 400 µm, 4 landmarks", _volume, (Waves(40.0, 400.0),), landmarks=4
    ),
    "tear": FieldKind("torn apart by 40 µm", _volume, (_GENTLE, Tear(40.0))),
    "shear-bands": FieldKind("two slips of 30 µm", _volume, (_GENTLE, ShearBands(30.0, 50.0))),
    "compression": FieldKind(
        "pressed by 35 % at the top", _volume, (_GENTLE, WindowCompression(0.35, 80.0))
    ),
    "noise-3": FieldKind(
        "places off by 3 µm, heavy-tailed", _volume, (_GENTLE,), noise=Noise(3.0, 3.0)
    ),
    "noise-5": FieldKind(
        "places off by 5 µm, heavy-tailed", _volume, (_GENTLE,), noise=Noise(5.0, 3.0)
    ),
    "noise-7": FieldKind(
        "places off by 7 µm, heavy-tailed", _volume, (_GENTLE,), noise=Noise(7.0, 3.0)
    ),
    "missing-30": FieldKind("of either side", _volume, missing=0.3),
    "missing-60": FieldKind("of either side", _volume, missing=0.6),
    "duplicates": FieldKind("15 % of somata detected twice", _volume, duplicates=0.15),
    "clusters": FieldKind("somata in clusters", _clusters),
    "wrong-landmarks": FieldKind("3 of 20 landmarks", _volume, landmarks=20, wrong=0.15),
    "corner": FieldKind("all landmarks in one corner", _volume, corner=True),
    "partial-overlap": FieldKind("half of the field is not in the gallery", _volume, overlap=0.5),
    "plane": FieldKind("a plane on either side", _plane, (_FLAT_WAVES,), missing=0.3),
    "plane-in-volume": FieldKind(
        "a plane in 20,000 somata, places off by 3 µm", _plane_in_volume, noise=Noise(3.0)
    ),
    "stack": FieldKind("planes 30 µm apart on either side", _stack, (_FLAT_WAVES,), missing=0.15),
    "slab": FieldKind("a slab of 40 µm on either side", _slab, missing=0.15),
    "sheet": FieldKind(
        "a plane against a curved sheet", _sheet, (_FLAT_WAVES,), (Sheet(25.0, 500.0),), missing=0.3
    ),
    "sheet-in-volume": FieldKind(
        "a plane against a curved sheet in a thin volume",
        _sheet_in_volume,
        (_FLAT_WAVES, Sheet(20.0, 500.0)),
    ),
}
"""Kinds of fields by name."""
