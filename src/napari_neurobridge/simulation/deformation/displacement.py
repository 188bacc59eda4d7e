"""A smooth random displacement with a stated spectrum: a modulated sum of plane waves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, field_validator
from scipy.stats import special_ortho_group
from torch import Tensor

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.parameters import (
    Fraction,
    NonNegative,
    Parameters,
    Positive,
    Range,
)

if TYPE_CHECKING:
    from napari_neurobridge.simulation.keyed import Key

_WAVES = 24
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
# With these strides through a lattice, the waves of each part of the spectrum go in all
# directions, so that `gradient_bound` is low and hardly differs between draws.
_DIRECTION_STRIDE, _POLARISATION_STRIDE = 17, 7
_INVERSE_ROUNDS = 1000
_INVERSE_TOLERANCE_UM = 1e-10

Float64Array = npt.NDArray[np.float64]


class DisplacementParams(Parameters):
    """The smooth, non-rigid part of a deformation.

    Attributes
    ----------
    nonrigid_um : float
        Root mean square of each component of the displacement.
    nonrigid_wavelength_um : Range
        Shortest and longest wavelength.
    spectral_exponent : float
        How fast the power falls with the wavenumber; see `power_spectrum`.
    modulation : float
        How much the displacement swells and fades with place: between 1 - modulation and
        1 + modulation times its middle size; 0 makes it stationary.
    modulation_wavelength_um : float
        Distance from one swell to the next.
    """

    nonrigid_um: NonNegative = 4.0
    nonrigid_wavelength_um: Range = (150.0, 400.0)
    spectral_exponent: Annotated[float, Field(ge=-6, le=6)] = 3.0
    modulation: Fraction = 0.5
    modulation_wavelength_um: Positive = 700.0

    @field_validator("nonrigid_wavelength_um")
    @classmethod
    def _ordered(cls, wavelengths: Range) -> Range:
        if not 0 < wavelengths[0] < wavelengths[1] < math.inf:
            raise ValueError("Wavelengths must be two positive µm, the shorter one first.")
        return wavelengths


def _band(params: DisplacementParams) -> tuple[float, float]:
    """Return the lowest and the highest wavenumber, radians per µm."""
    shortest, longest = params.nonrigid_wavelength_um
    return 2 * math.pi / longest, 2 * math.pi / shortest


def _antiderivative(wavenumber: npt.ArrayLike, exponent: float) -> Float64Array:
    """Return the integral of k^-exponent, up to a constant."""
    k = np.asarray(wavenumber, dtype=np.float64)
    return np.log(k) if exponent == 1 else k ** (1 - exponent) / (1 - exponent)


def power_spectrum(params: DisplacementParams, wavenumber: npt.ArrayLike) -> Float64Array:
    r"""Return the stated spectrum of each component of the displacement.

    Within the band of wavenumbers :math:`k_1 = 2\pi/\lambda_{max} \le k \le k_2 =
    2\pi/\lambda_{min}` it is a power law, and zero outside:

    .. math:: E(k) = \mathrm{rms}^2 \, k^{-p} \Big/ \int_{k_1}^{k_2} \kappa^{-p} d\kappa

    E counts the power of all directions together, so that its integral over k is the
    mean square of a component, and a mode of the three-dimensional Fourier transform has
    the density :math:`E(k) / 4 \pi k^2`. It is the spectrum before the modulation by
    place, whose mean square is 1 (see `SmoothDisplacement`).

    Parameters
    ----------
    params : DisplacementParams
        rms, wavelengths and exponent p.
    wavenumber : array_like
        Radians per µm.

    Returns
    -------
    ndarray, the shape of `wavenumber`
        µm² for each radian per µm.
    """
    low, high = _band(params)
    k = np.asarray(wavenumber, dtype=np.float64)
    inside = (k >= low) & (k <= high)
    first, last = _antiderivative((low, high), params.spectral_exponent)
    law = np.where(inside, k, low) ** -params.spectral_exponent
    return np.where(inside, params.nonrigid_um**2 * law / (last - first), 0.0)


@dataclass(frozen=True, eq=False)
class SmoothDisplacement:
    r"""A displacement known at every point, x ↦ x + u(x); a `warp.Stage`.

    .. math::

        u(x) = m(x) \sum_j a_j \cos(k_j \cdot x + \varphi_j), \qquad
        m(x) = \frac{1 + \beta \cos(q \cdot x + \psi)}{\sqrt{1 + \beta^2 / 2}}

    m has a mean square of 1 over space and makes u non-stationary: no stationary
    Gaussian process is its prior. x + u(x) is one-to-one, because an upper bound on the
    gradient of u over all of space is checked to be below 1 (`gradient_bound`).

    Attributes
    ----------
    wave_vectors : Tensor of float64, shape (K, 3)
        Radians per µm.
    phases : Tensor of float64, shape (K,)
    amplitudes : Tensor of float64, shape (K, 3)
        µm.
    modulation : float
        β.
    modulation_vector : Tensor of float64, shape (3,)
        q, radians per µm.
    modulation_phase : float
        ψ.

    Raises
    ------
    InputError
        If the displacement could fold space.
    """

    wave_vectors: Tensor
    phases: Tensor
    amplitudes: Tensor
    modulation: float
    modulation_vector: Tensor
    modulation_phase: float

    def __post_init__(self) -> None:
        if self.gradient_bound >= 1:
            raise InputError(
                "This non-rigid displacement would fold the tissue: lower nonrigid_um or "
                "modulation, or make the shortest wavelength longer."
            )

    @property
    def _norm(self) -> float:
        return math.sqrt(1 + self.modulation**2 / 2)

    @cached_property
    def gradient_bound(self) -> float:
        r"""Upper bound, over all of space, on the largest stretch by the gradient of u.

        For unit vectors p and q, :math:`|p^T \nabla u\, q|` is at most
        :math:`m_{max} \sum |p \cdot a_j| |k_j \cdot q| + |\nabla m|_{max} \sum |p \cdot a_j|`,
        and each sum is bounded by the Cauchy–Schwarz inequality with the largest
        eigenvalues of the waves' moment matrices.
        """
        size = self.amplitudes.norm(dim=1)
        wavenumber = self.wave_vectors.norm(dim=1)
        polarisation = self.amplitudes / size.clamp(min=1e-300)[:, None]
        direction = self.wave_vectors / wavenumber[:, None]
        steepness = size * wavenumber
        waves = math.sqrt(_moment(polarisation, steepness) * _moment(direction, steepness))
        sizes = math.sqrt(_moment(polarisation, size) * float(size.sum()))
        slope = self.modulation * float(self.modulation_vector.norm())
        return ((1 + self.modulation) * waves + slope * sizes) / self._norm

    @cached_property
    def _table(self) -> tuple[Tensor, Tensor, Tensor]:
        """All waves, the modulating one last: (K + 1, 3) and (K + 1, 1); and (3, K)."""
        phase = self.phases.new_tensor([self.modulation_phase])
        return (
            torch.cat([self.wave_vectors, self.modulation_vector[None]]),
            torch.cat([self.phases, phase])[:, None],
            self.amplitudes.T.contiguous() / self._norm,
        )

    def at(self, coordinates: Tensor) -> Tensor:
        """Return u, µm (3, N), at coordinates of shape (3, N)."""
        vectors, phases, amplitudes = (table.to(coordinates) for table in self._table)
        waves = torch.addmm(phases, vectors, coordinates).cos_()
        modulation = waves[-1].mul_(self.modulation).add_(1.0)
        return (amplitudes @ waves[:-1]).mul_(modulation)

    def modulation_at(self, coordinates: Tensor) -> Tensor:
        """Return m, shape (N,), at coordinates of shape (3, N)."""
        phase = self.modulation_vector.to(coordinates) @ coordinates + self.modulation_phase
        return (1 + self.modulation * phase.cos()) / self._norm

    def move(self, coordinates: Tensor) -> Tensor:
        """Return where points go."""
        return coordinates + self.at(coordinates)

    def undo(self, coordinates: Tensor) -> Tensor:
        """Return where points came from, by iterating a contraction."""
        found = coordinates
        for _ in range(_INVERSE_ROUNDS):
            previous, found = found, coordinates - self.at(found)
            if (found - previous).abs().max() < _INVERSE_TOLERANCE_UM:
                break
        return found


def _moment(directions: Tensor, weights: Tensor) -> float:
    """Return the largest eigenvalue of Σ w v vᵀ."""
    return float(torch.linalg.eigvalsh((directions.T * weights) @ directions)[-1])


def draw_displacement(params: DisplacementParams, key: Key) -> SmoothDisplacement:
    """Draw a smooth displacement with the spectrum of `power_spectrum`.

    All waves have the same power. Their wavenumbers are drawn one from each of as many
    equal shares of the spectrum; their directions and polarisations are spread evenly
    over the sphere and turned at random. So each draw has nearly the stated rms and is
    nearly isotropic, and the mean over draws is exactly so.

    Parameters
    ----------
    params : DisplacementParams
        Size and spectrum.
    key : Key
        Source of all randomness.

    Raises
    ------
    InputError
        If the displacement could fold space.
    """
    rng = key.rng()
    exponent = params.spectral_exponent
    shares = (np.arange(_WAVES) + rng.random(_WAVES)) / _WAVES
    first, last = _antiderivative(_band(params), exponent)
    level = first + shares * (last - first)
    wavenumber = (
        np.exp(level) if exponent == 1 else (level * (1 - exponent)) ** (1 / (1 - exponent))
    )
    # The variance of a cosine is one half, shared by three components.
    amplitude = params.nonrigid_um * math.sqrt(6 / _WAVES)
    direction, polarisation = (
        _even_directions(rng, stride) for stride in (_DIRECTION_STRIDE, _POLARISATION_STRIDE)
    )
    modulation = special_ortho_group.rvs(3, random_state=rng)[0]
    return SmoothDisplacement(
        torch.from_numpy(wavenumber[:, None] * direction),
        torch.from_numpy(rng.uniform(0, 2 * np.pi, _WAVES)),
        torch.from_numpy(amplitude * polarisation),
        params.modulation,
        torch.from_numpy(2 * np.pi / params.modulation_wavelength_um * modulation),
        float(rng.uniform(0, 2 * np.pi)),
    )


def _even_directions(rng: np.random.Generator, stride: int) -> Float64Array:
    """Return unit vectors, (K, 3), spread over half a sphere (a Fibonacci lattice), turned.

    Half a sphere is enough, because a wave and its opposite are the same.
    """
    index = np.arange(_WAVES) * stride % _WAVES + 0.5
    height, angle = index / _WAVES, _GOLDEN_ANGLE * index
    radius = np.sqrt(1 - height**2)
    lattice = np.stack([height, radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return np.asarray(lattice @ special_ortho_group.rvs(3, random_state=rng).T)
