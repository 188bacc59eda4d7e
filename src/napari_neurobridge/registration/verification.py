"""How right matches are by their coordinates alone: one interface for the module and its rivals."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.common_frame import common_frame
from napari_neurobridge.registration.inlier_ratio import estimate_inliers
from napari_neurobridge.registration.subsets import (
    SubsetConfig,
    draw_subsets,
    mean_over_subsets,
)

if TYPE_CHECKING:
    from napari_neurobridge.registration.gccm import Gccm
    from napari_neurobridge.types import FloatArray

Float64Array = npt.NDArray[np.float64]

_SUBSETS = SubsetConfig()


class MatchVerifier(Protocol):
    """Says how right matches are."""

    def score(self, source_um: FloatArray, target_um: FloatArray) -> Float64Array:
        """Return a score for each match, higher where it is likelier right.

        Parameters
        ----------
        source_um, target_um : ndarray, shape (N, D)
            The two places of each match, µm.

        Returns
        -------
        ndarray, shape (N,)

        Raises
        ------
        InputError
            If there are too few matches, or some are not finite.
        """
        ...


@dataclass(frozen=True, eq=False)
class NoVerification:
    """All matches are equally right."""

    def score(self, source_um: FloatArray, target_um: FloatArray) -> Float64Array:
        """See `MatchVerifier.score`."""
        source, _ = checked_matches(source_um, target_um, least=1)
        return np.zeros(len(source))


@dataclass(frozen=True, eq=False)
class GccmVerifier:
    """The confidence of `Gccm`, or by ``adaptive`` the probability that it means.

    Attributes
    ----------
    model : Gccm
        In evaluation mode.
    adaptive : bool
        Score by how right a match of this confidence is at the inlier ratio that the
        confidences themselves tell (see `InlierEstimate`), rather than by the confidence.
    seed : int
        Of the subsets.
    subsets : SubsetConfig, optional
        Other numbers of subsets than the module's own.
    """

    model: Gccm
    adaptive: bool = False
    seed: int = 0
    subsets: SubsetConfig | None = None

    def score(self, source_um: FloatArray, target_um: FloatArray) -> Float64Array:
        """See `MatchVerifier.score`."""
        config = self.model.config
        source, target = checked_matches(
            source_um, target_um, least=config.subsets.size, dims=config.position_dim
        )
        generator = torch.Generator().manual_seed(self.seed)
        with torch.inference_mode():
            found = self.model.confidence(_tensor(source), _tensor(target), generator, self.subsets)
        confidence = found.double().numpy()
        if not self.adaptive:
            return np.asarray(confidence)
        return estimate_inliers(confidence, config.responses).probability(confidence)


@dataclass(frozen=True, eq=False)
class SubsetResidual:
    """What a least-squares similarity leaves of the same subsets; nothing is learned.

    Attributes
    ----------
    dims : int
        2 or 3.
    kernel_um : float or None
        A match scores the mean of exp(-r² / 2 kernel²) over its subsets' residuals r, so that
        one that is far off counts no more than one that is off; without, minus the mean residual.
    subsets : SubsetConfig
    seed : int
        Of the subsets: those of a `GccmVerifier` with the same seed.
    """

    dims: int = 2
    kernel_um: float | None = None
    subsets: SubsetConfig = _SUBSETS
    seed: int = 0

    def score(self, source_um: FloatArray, target_um: FloatArray) -> Float64Array:
        """See `MatchVerifier.score`."""
        source, target = checked_matches(
            source_um, target_um, least=self.subsets.size, dims=self.dims
        )
        generator = torch.Generator().manual_seed(self.seed)
        here, there = _tensor(source), _tensor(target)
        weight = common_frame(here, there, generator).weight
        rows = draw_subsets(here, weight, self.subsets, generator)
        residual = similarity_residuals(here, there, rows)
        value = -residual
        if self.kernel_um is not None:
            value = (-0.5 * (residual / self.kernel_um).square()).exp()
        return np.asarray(mean_over_subsets(value, rows, len(source)).double().numpy())


@dataclass(frozen=True, eq=False)
class Departure:
    """Minus the distance from what most matches share, in µm; nothing is learned.

    Attributes
    ----------
    stiffness : int
        0 for the affine map of `common_frame`, 1 and 2 for the stiff and the soft map about it.
    seed : int
    """

    stiffness: int = 2
    seed: int = 0

    def score(self, source_um: FloatArray, target_um: FloatArray) -> Float64Array:
        """See `MatchVerifier.score`."""
        source, target = checked_matches(source_um, target_um, least=4)
        generator = torch.Generator().manual_seed(self.seed)
        shifts = common_frame(_tensor(source), _tensor(target), generator).shifts_um
        return -np.asarray(shifts[:, self.stiffness].norm(dim=1).double().numpy())


@dataclass(frozen=True, eq=False)
class Ransac:
    """Minus the distance from the one similarity or affine map with most inliers (scikit-image).

    All matches score 0 where no map is found.

    Attributes
    ----------
    kind : "similarity" or "affine"
    threshold_um : float
        Largest distance of an inlier.
    trials : int
        Samples that are tried.
    seed : int
    """

    kind: Literal["similarity", "affine"] = "similarity"
    threshold_um: float = 10.0
    trials: int = 500
    seed: int = 0

    def score(self, source_um: FloatArray, target_um: FloatArray) -> Float64Array:
        """See `MatchVerifier.score`."""
        from skimage.measure import ransac
        from skimage.transform import AffineTransform, SimilarityTransform

        source, target = np.asarray(source_um), np.asarray(target_um)
        affine = self.kind == "affine"
        least = source.shape[-1] + affine if source.ndim else 1
        source, target = checked_matches(source, target, least=least + 1)
        with warnings.catch_warnings():
            # It warns of each sample that lies on a line, and of finding nothing.
            warnings.simplefilter("ignore")
            found, _ = ransac(
                (source, target),
                AffineTransform if affine else SimilarityTransform,
                min_samples=least,
                residual_threshold=self.threshold_um,
                max_trials=self.trials,
                rng=self.seed,
            )
        if not found:
            return np.zeros(len(source))
        return -np.asarray(found.residuals(source, target), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Magsac:
    """Minus the distance from the affine map of MAGSAC++ (OpenCV), in two dimensions.

    All matches score 0 where no map is found.

    Attributes
    ----------
    threshold_um : float
        Largest scale of the noise that is marginalised over.
    trials : int
        Samples that are tried.

    References
    ----------
    Barath et al., MAGSAC++, CVPR 2020; package opencv-python-headless.
    """

    threshold_um: float = 10.0
    trials: int = 2000

    def score(self, source_um: FloatArray, target_um: FloatArray) -> Float64Array:
        """See `MatchVerifier.score`."""
        import cv2

        source, target = checked_matches(source_um, target_um, least=4, dims=2)
        # Its stubs do not know that it may find nothing.
        fitted: tuple[Any, Any] = cv2.estimateAffine2D(
            source,
            target,
            method=cv2.USAC_MAGSAC,
            ransacReprojThreshold=self.threshold_um,
            maxIters=self.trials,
            confidence=0.999,
        )
        found = fitted[0]
        if found is None:
            return np.zeros(len(source))
        return -np.asarray(np.linalg.norm(source @ found[:, :2].T + found[:, 2] - target, axis=1))


def has_magsac() -> bool:
    """Return whether the package of MAGSAC++ is installed."""
    return find_spec("cv2") is not None


def checked_matches(
    source_um: FloatArray, target_um: FloatArray, *, least: int, dims: int | None = None
) -> tuple[Float64Array, Float64Array]:
    """Return both places of matches as float64, if they can be verified.

    Raises
    ------
    InputError
        If the two do not fit together, are fewer than ``least``, have other than ``dims``
        coordinates or are not finite.
    """
    source, target = (np.asarray(side, dtype=np.float64) for side in (source_um, target_um))
    wanted = (dims,) if dims else (2, 3)
    if source.ndim != 2 or source.shape != target.shape or source.shape[1] not in wanted:
        raise InputError(
            f"Matches need as many places on both sides, of {' or '.join(map(str, wanted))} "
            f"coordinates each, not {source.shape} and {target.shape}."
        )
    if len(source) < least:
        raise InputError(
            f"Verification needs at least {least} matches, and there are {len(source)}."
        )
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise InputError("The places of the matches hold NaN or infinite numbers.")
    return source, target


def similarity_residuals(
    source: torch.Tensor, target: torch.Tensor, subsets: torch.Tensor
) -> torch.Tensor:
    """Return what the least-squares similarity of each subset leaves, rms µm, shape (S,).

    All subsets at once, which `spaces.similarity.fit_similarity` does not do.

    Parameters
    ----------
    source, target : Tensor, shape (N, D)
    subsets : Tensor of int64, shape (S, K)

    References
    ----------
    Umeyama, IEEE TPAMI 1991.
    """
    here, there = (
        side[subsets] - side[subsets].mean(dim=1, keepdim=True) for side in (source, target)
    )
    left, sizes, right = torch.linalg.svd(there.transpose(1, 2) @ here)
    hand = torch.ones_like(sizes)
    hand[:, -1] = torch.linalg.det(left @ right).sign()
    power = here.square().sum(dim=(1, 2)).clamp(min=1e-9)
    scale = (sizes * hand).sum(dim=1) / power
    turn = left * hand[:, None] @ right
    rest = there - scale[:, None, None] * (here @ turn.transpose(1, 2))
    residual: torch.Tensor = rest.square().sum(dim=2).mean(dim=1).sqrt()
    return residual


def _tensor(places: Float64Array) -> torch.Tensor:
    # Far from the origin, single precision would lose what a soma's place is known to.
    return torch.from_numpy(places - places.mean(axis=0)).float()
