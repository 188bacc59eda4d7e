"""What a plane of moving tissue shows at each frame, without and with noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.lattice import Boxes
from napari_neurobridge.simulation.optics.noise import shoot_
from napari_neurobridge.simulation.optics.texture import Texture
from napari_neurobridge.simulation.parameters import (
    Fraction,
    NonNegative,
    Parameters,
    Positive,
)
from napari_neurobridge.simulation.recording.activity import (
    ActivityParams,
    neuropil_fluctuation,
    simulate_activity,
)
from napari_neurobridge.simulation.recording.footprints import Plane, make_footprints
from napari_neurobridge.simulation.recording.motion import MotionParams, draw_motion
from napari_neurobridge.simulation.recording.seen_somata import SeenSomata
from napari_neurobridge.simulation.render import spread_weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt
    from torch import Tensor

    from napari_neurobridge.simulation.cloud import Morphology, PointCloud
    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.simulation.optics.labels import TwoPhotonLabel

COUNTS, OFFSET = 500.0, 500.0
"""A pixel holds ``OFFSET + COUNTS × intensity``."""

_REACH_SIGMAS = 3.5
# Between two depths a Gaussian is taken as straight, which at this spacing errs by 3 %.
_DEPTHS_PER_SIGMA = 2.0


class RecordingParams(Parameters):
    """How a plane is recorded. Intensity 1 is a median soma at rest.

    Attributes
    ----------
    rate_hz : float
        Frames per second.
    activity : ActivityParams
        How cells fire, and how the indicator answers.
    motion : MotionParams
        How the tissue moves.
    rest : float
        Brightness at rest of cells that are visible only when active.
    neuropil, neuropil_contrast : float
        Level of the unresolved background, and the relative standard deviation of its
        texture.
    neuropil_grain_um : tuple of float
        Sizes of that texture.
    neuropil_fluctuation : float
        Relative standard deviation over time, in step with the population.
    bleaching_per_min : float
        Share of the light that is lost each minute.
    photons : float
        Detected photons for each pixel and frame at intensity 1.
    read_noise : float
        Standard deviation of the noise that does not depend on the light.
    """

    rate_hz: Positive = 15.0
    activity: ActivityParams = ActivityParams()
    motion: MotionParams = MotionParams()
    rest: Fraction = 0.02
    neuropil: NonNegative = 0.25
    neuropil_contrast: NonNegative = 0.25
    neuropil_grain_um: tuple[Positive, Positive] = (4.0, 15.0)
    neuropil_fluctuation: NonNegative = 0.08
    bleaching_per_min: Fraction = 0.01
    photons: Positive = 8.0
    read_noise: NonNegative = 0.05


@dataclass(frozen=True)
class RecordedCells:
    """The cells around a plane, as the indicator labels them.

    Attributes
    ----------
    pieces : iterable of (Morphology, Tensor)
        Points of some cells at a time, in two-photon space, and the fluorophore of each
        point (M,). Read once.
    spiking : Tensor of bool, shape (N,)
        For every cell of the tissue by its id: whether it ever fires.
    active_only : Tensor of bool, shape (N,)
        Whether it is dark at rest.
    uids : sequence of str, optional
        What the cells are called in the table of the scene; empty for those without.
    """

    pieces: Iterable[tuple[Morphology, Tensor]]
    spiking: Tensor
    active_only: Tensor
    uids: Sequence[str] | None = None

    @classmethod
    def labelled(
        cls,
        pieces: Iterable[Morphology],
        label: TwoPhotonLabel,
        uids: Sequence[str] | None = None,
    ) -> RecordedCells:
        """Return cells as a label shows them when they are active, too; silent ones are dark."""
        shown = label.visible | label.active_only
        brightness = label.brightness * shown
        amounts = (
            (cells, cells.volume_um3 * label.gain(cells) * brightness[cells.cell])
            for cells in pieces
        )
        return cls(amounts, shown, label.active_only, uids)


@dataclass(frozen=True)
class Surroundings:
    """What is in the plane besides cells and plain neuropil. It moves with the tissue.

    Attributes
    ----------
    clutter : PointCloud, optional
        What shines without belonging to a cell, in two-photon space; it changes as the
        neuropil does.
    transmission : Tensor, shape (H, W), optional
        Share of the light that vessels let pass, for the plane's pixels.
    neuropil_room : Tensor, shape (H, W), optional
        Share of each pixel that is neuropil, and not a vessel or a cell body.
    """

    clutter: PointCloud | None = None
    transmission: Tensor | None = None
    neuropil_room: Tensor | None = None


_NOTHING = Surroundings()


class RecordedPlane:
    """All that a recording is made of, before its first frame.

    Parameters
    ----------
    cells : RecordedCells
    plane : Plane
    n_frames : int
    sigma_um : tuple of float
        Axial and lateral standard deviation of the point spread.
    params : RecordingParams
    key : Key
    surroundings : Surroundings

    Raises
    ------
    InputError
        If a map of the surroundings has another shape than the plane.

    Attributes
    ----------
    footprints : Footprints
        Of the N cells that have any light here, on the plane with a border around it.
    activity : Activity
        Of the same cells.
    motion_um : Tensor, shape (T, 3)
        As from `draw_motion`.
    """

    def __init__(
        self,
        cells: RecordedCells,
        plane: Plane,
        n_frames: int,
        sigma_um: tuple[float, float],
        params: RecordingParams,
        key: Key,
        surroundings: Surroundings = _NOTHING,
    ) -> None:
        axial_um, lateral_um = sigma_um
        z_limit, *lateral_limit = params.motion.limit_um
        self.plane, self.params, self._key = plane, params, key
        self._sigma = lateral_um / plane.pixel_um
        self._reach = math.ceil(_REACH_SIGMAS * self._sigma) + 1
        # One pixel more, since points at the very border are left out.
        self._pad = self._reach + math.ceil(max(lateral_limit) / plane.pixel_um) + 1
        self._axial_um = axial_um
        self.padded = plane.padded(self._pad)
        self.motion_um = draw_motion(n_frames, params.rate_hz, params.motion, key.child("motion"))
        self.somata = SeenSomata(len(cells.spiking))
        footprints = make_footprints(
            self.somata.watch(cells.pieces),
            self.padded,
            axial_sigma_um=axial_um,
            offset_um=_depths(z_limit, axial_um),
        )
        device = cells.spiking.device
        self.footprints = footprints.to(device)
        ids = self.footprints.cell
        self.activity = simulate_activity(
            ids,
            n_frames,
            params.rate_hz,
            params.activity,
            key.child("activity"),
            active_only=cells.active_only[ids],
            spiking=cells.spiking[ids],
        )
        rest = torch.where(cells.active_only[ids], params.rest, 1.0)
        self._light = self.activity.calcium + rest[:, None]
        fluctuation = neuropil_fluctuation(
            n_frames, params.rate_hz, params.activity, key.child("activity"), device
        )
        self._neuropil = (1 + params.neuropil_fluctuation * fluctuation).clamp(min=0)
        seconds = torch.arange(n_frames, device=device) / params.rate_hz
        self._bleaching = (1 - params.bleaching_per_min) ** (seconds / 60)
        self._depth_share = self.footprints.weights(-self.motion_um[:, 0].to(device))
        self._background = self._draw_background(surroundings)
        self._passed = self._spread(surroundings.transmission)

    def _draw_background(self, surroundings: Surroundings) -> Tensor:
        """Return neuropil and clutter (K, P) at each depth."""
        clutter, offsets = surroundings.clutter, self.footprints.offset_um
        background = self._draw_neuropil() * self._spread(surroundings.neuropil_room)
        if clutter is None:
            return background
        nobody = torch.zeros(len(clutter), dtype=torch.int64, device=clutter.amount.device)
        specks = make_footprints(
            [(clutter.position_um, clutter.amount, nobody)],
            self.padded,
            axial_sigma_um=self._axial_um,
            offset_um=offsets,
        )
        # Frame k is seen from depth k.
        seen = torch.eye(len(offsets))
        light = seen.new_ones(len(specks), len(seen))
        return background + specks.image(light, seen).to(background.device)

    def _draw_neuropil(self) -> Tensor:
        """Return the neuropil (K, P) at each depth."""
        params, offsets, pixel = self.params, self.footprints.offset_um, self.plane.pixel_um
        step = offsets[1] - offsets[0] if len(offsets) > 1 else 1.0
        low = (self.plane.depth_um + offsets[0], *self.padded.origin_um)
        start = [round(v / s) for v, s in zip(low, (step, pixel, pixel), strict=True)]
        boxes = Boxes.of([start], (len(offsets), *self.padded.shape))
        grains = [(grain, grain, grain) for grain in params.neuropil_grain_um]
        key = self._key.child("neuropil")
        texture = Texture(key, boxes, (step, pixel, pixel), grains, device=self._light.device)
        values = texture.sample((slice(None), slice(None), slice(None)))[0]
        values = values.mul_(params.neuropil_contrast).add_(1).clamp_(min=0)
        return values.mul_(params.neuropil).flatten(1)

    def _spread(self, share: Tensor | None) -> Tensor:
        """Return a share (H, W) continued to the border, (P,), 1 where there is none."""
        if share is None:
            return self._light.new_ones(self.padded.n_pixels)
        if tuple(share.shape) != self.plane.shape:
            raise InputError(
                f"A map of the surroundings must have the plane's shape {self.plane.shape}, "
                f"not {tuple(share.shape)}."
            )
        beyond = 4 * [self._pad]
        padded = torch.nn.functional.pad(share.float()[None, None], beyond, mode="replicate")
        return padded.flatten().to(self._light.device)

    def record(self, frames: slice) -> npt.NDArray[np.uint16]:
        """Return some frames as the camera stores them, (n, H, W)."""
        signal = self.expected(frames)
        boxes = Boxes.of([(frames.start, 0, 0)], signal.shape)
        noise = self._key.child("noise")
        shoot_(signal[None], self.params.photons, self.params.read_noise, noise, boxes)
        counts = signal.mul_(COUNTS).add_(OFFSET).round_().clamp_(0, 65535)
        return counts.cpu().numpy().astype(np.uint16)

    def expected(self, frames: slice) -> Tensor:
        """Return some frames without noise, (n, H, W)."""
        height, width = self.plane.shape
        share = self._depth_share[:, frames]
        scene = self.footprints.image(self._light[:, frames], share)
        for background, level in zip(self._background, share * self._neuropil[frames], strict=True):
            if level.any():
                scene.addcmul_(level[:, None], background)
        scene *= self._passed
        scene *= self._bleaching[frames, None]
        shift = self.motion_um[frames, 1:].double().numpy() / self.plane.pixel_um
        whole = np.floor(shift)
        first = (self._pad - self._reach - whole).astype(int).tolist()
        taps = self._taps(shift - whole).tolist()
        images = scene.view(-1, *self.padded.shape)
        # One frame at a time, which a cache holds.
        return torch.stack(
            [
                _blurred(_blurred(image, 0, y, height, rows), 1, x, width, columns)
                for image, (y, x), (rows, columns) in zip(images, first, taps, strict=True)
            ]
        )

    def _taps(self, part: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the taps (..., 2 reach + 1) that blur and shift by parts of a pixel (...)."""
        # What moves towards rising pixels is found at falling ones.
        offset = np.arange(self._reach, -self._reach - 1, -1)
        taps = spread_weights(offset, self._sigma, part[..., None])
        return np.asarray(taps / taps.sum(axis=-1, keepdims=True))

    def truth(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return what the recording shows, in arrays."""
        activity = self.activity
        return {
            "cell": self.footprints.cell.cpu().numpy(),
            "motion_um": self.motion_um.numpy(),
            "calcium": activity.calcium.cpu().numpy(),
            "spikes": activity.spikes.cpu().numpy(),
            "rate_hz": activity.rate_hz.cpu().numpy(),
            "neuropil": self._neuropil.cpu().numpy(),
            "frame_rate_hz": np.array(self.params.rate_hz),
        }

    def table(self, cells: RecordedCells) -> dict[str, Sequence[object]]:
        """Return one row for each cell that has light in the plane, as columns."""
        ids = self.footprints.cell.cpu()
        center, in_plane = self.somata.seen_from(self.plane)
        light = self.footprints.total().cpu() * self.plane.pixel_um**2
        names = cells.uids
        return {
            "cell": ids.tolist(),
            "two_photon_uid": [names[cell] if names else "" for cell in ids.tolist()],
            **{
                f"two_photon_{axis}_um": [f"{value:.3f}" for value in center[ids, column].tolist()]
                for column, axis in enumerate("zyx")
            },
            "soma_in_plane": in_plane[ids].int().tolist(),
            "light_um2": [f"{value:.3f}" for value in light.tolist()],
            "active_only": cells.active_only.cpu()[ids].int().tolist(),
            "spiking": cells.spiking.cpu()[ids].int().tolist(),
            "n_spikes": self.activity.spikes.sum(dim=1).tolist(),
        }


def _blurred(image: Tensor, axis: int, first: int, count: int, taps: list[float]) -> Tensor:
    """Weigh neighbours along an axis, for ``count`` pixels from ``first`` on.

    Element by element: a convolution would round otherwise for another number of frames.
    """
    total = image.narrow(axis, first, count) * taps[0]
    for step, tap in enumerate(taps[1:], start=1):
        total.add_(image.narrow(axis, first + step, count), alpha=tap)
    return total


def _depths(limit_um: float, axial_sigma_um: float) -> tuple[float, ...]:
    """Return depths from ``-limit_um`` to ``limit_um``, dense enough to interpolate."""
    half = math.ceil(limit_um / axial_sigma_um * _DEPTHS_PER_SIGMA)
    return tuple(limit_um * step / half for step in range(-half, half + 1)) if half else (0.0,)
