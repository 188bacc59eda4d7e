"""Pairs of images to be matched, with the truth at every pixel, drawn from simulated volumes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import gaussian_filter, map_coordinates

from napari_neurobridge.training.scene_volumes import STEP_UM

if TYPE_CHECKING:
    from napari_neurobridge.training.scene_volumes import SceneVolumes
    from napari_neurobridge.types import FloatArray

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Range = Annotated[tuple[float, float], Field(description="Least and most.")]


class TaskParams(BaseModel, frozen=True, extra="forbid"):
    """What tasks are drawn.

    Attributes
    ----------
    size_um : int
        Side of both images; a pixel is 1 µm.
    shift_um : float
        Largest distance of the images' middles along either axis. It must be a good part of
        the size: a network knows where the border is, and would learn that the middle of an image
        lies in the middle of the other.
    angle_deg : float
        Largest rotation between the images beyond that of the scene.
    scale : Range
        Of the source image.
    two_photon_um, fmost_um : Range
        Thickness that is projected.
    depth_error_um : float
        Largest distance of the fMOST slab's middle from the two-photon plane.
    same_side : float
        Share of the tasks that show one volume twice (pre-training).
    bend_um : Range
        Root mean square of the thin-plate displacement of such tasks.
    bend_every_um : Range
        Distance of its control points.
    """

    size_um: int = 256
    shift_um: float = 64.0
    angle_deg: float = 35.0
    scale: Range = (0.9, 1.1)
    two_photon_um: Range = (2.0, 12.0)
    fmost_um: Range = (8.0, 30.0)
    depth_error_um: float = 4.0
    same_side: float = 0.2
    bend_um: Range = (2.0, 10.0)
    bend_every_um: Range = (60.0, 150.0)


@dataclass(frozen=True, eq=False)
class ImageTask:
    """Two images and the true map between their pixels (1 µm; y, x).

    Attributes
    ----------
    source, target : ndarray of float32, shape (S, S)
        Intensities, not standardised.
    truth_px : ndarray, shape (S, S, 2)
        Where each pixel of the source lies in the target; NaN where the target's slab does not
        hold it, or beyond either image.
    somata_px : tuple of ndarray, (N, 2) and (M, 2)
        Somata that either image shows.
    """

    source: Float32Array
    target: Float32Array
    truth_px: Float32Array
    somata_px: tuple[Float64Array, Float64Array]

    def map_points(self, pixels: FloatArray) -> Float64Array:
        """Return where points (N, 2) of the source lie in the target; NaN where nowhere."""
        at = np.asarray(pixels, dtype=np.float64).T
        return np.stack(
            [
                map_coordinates(self.truth_px[..., k], at, order=1, mode="constant", cval=np.nan)
                for k in range(2)
            ],
            axis=1,
        ).astype(np.float64)


def draw_task(scene: SceneVolumes, params: TaskParams, rng: np.random.Generator) -> ImageTask:
    """Draw two images of a scene: of both sides, or of one side twice."""
    if rng.random() < params.same_side:
        return _one_side(scene, params, rng)
    depth = rng.uniform(8.0, (scene.two_photon.shape[0] - 1) * STEP_UM[0] - 8.0)
    return cross_modal_task(scene, depth, params, rng)


def cross_modal_task(
    scene: SceneVolumes, depth_um: float, params: TaskParams, rng: np.random.Generator
) -> ImageTask:
    """Image a two-photon plane and the fMOST slab that holds it.

    Parameters
    ----------
    scene : SceneVolumes
    depth_um : float
        Of the plane, in the two-photon volume.
    params : TaskParams
    rng : numpy.random.Generator
    """
    size = params.size_um
    here = _window(np.array(scene.two_photon.shape[1:]) - 1.0, size, params, rng)
    middle = np.array([[depth_um, *here.place(np.full((1, 2), size / 2))[0]]])
    there_middle = scene.to_fmost(middle)[0]
    there = _ImageWindow(
        there_middle[1:] + rng.uniform(-1, 1, 2) * params.shift_um,
        math.radians(rng.uniform(-1, 1) * 4),
        1.0,
        size,
    )
    slab = there_middle[0] + rng.uniform(-1, 1) * params.depth_error_um
    thickness = (rng.uniform(*params.two_photon_um), rng.uniform(*params.fmost_um))
    source = here.image(project(scene.two_photon, depth_um, thickness[0], rng))
    target = there.image(project(scene.fmost, slab, thickness[1], rng))
    grid = _pixels(size)
    places = here.place(grid)
    mapped = scene.to_fmost(np.column_stack([np.full(len(places), depth_um), places]))
    truth = there.pixel(mapped[:, 1:])
    outside = (np.abs(mapped[:, 0] - slab) > thickness[1] / 2 + 3.0) | ~_within(truth, size)
    outside |= ~_held(places, scene.two_photon.shape[1:])
    outside |= ~_held(mapped[:, 1:], scene.fmost.shape[1:])
    truth[outside] = np.nan
    somata = (
        _somata(scene.two_photon_um[scene.in_two_photon], depth_um, thickness[0] / 2 + 4, here),
        _somata(scene.fmost_um[scene.in_fmost], slab, thickness[1] / 2 + 3, there),
    )
    return ImageTask(source, target, truth.reshape(size, size, 2).astype(np.float32), somata)


def project(
    volume: npt.NDArray[np.float16], depth_um: float, thickness_um: float, rng: np.random.Generator
) -> Float32Array:
    """Return the maximum or the mean over a slab, (Y, X)."""
    first = (depth_um - thickness_um / 2) / STEP_UM[0]
    last = (depth_um + thickness_um / 2) / STEP_UM[0]
    top = len(volume) - 1
    low = int(np.clip(round(first), 0, top))
    slab = volume[low : max(int(np.clip(round(last), 0, top)), low) + 1].astype(np.float32)
    return np.asarray(slab.max(axis=0) if rng.random() < 0.7 else slab.mean(axis=0))


@dataclass(frozen=True)
class _ImageWindow:
    """A square image, turned and scaled about a place of a plane, µm (y, x)."""

    middle: Float64Array
    angle: float
    scale: float
    size: int

    def _turn(self) -> Float64Array:
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return self.scale * np.array([[cos, -sin], [sin, cos]])

    def place(self, pixels: Float64Array) -> Float64Array:
        return self.middle + (pixels - self.size / 2) @ self._turn().T

    def pixel(self, places: Float64Array) -> Float64Array:
        return (places - self.middle) @ np.linalg.inv(self._turn()).T + self.size / 2

    def image(self, plane: Float32Array) -> Float32Array:
        at = self.place(_pixels(self.size)).T
        nothing = float(np.median(plane))
        values = map_coordinates(plane, at, order=1, mode="constant", cval=nothing)
        return np.asarray(values, dtype=np.float32).reshape(self.size, self.size)


def _window(
    extent: Float64Array, size: int, params: TaskParams, rng: np.random.Generator
) -> _ImageWindow:
    """Lay a window into a plane, mostly inside."""
    room = np.maximum(extent / 2 - size / 2, 0.0) + 10.0
    return _ImageWindow(
        extent / 2 + rng.uniform(-room, room),
        math.radians(rng.uniform(-1, 1) * params.angle_deg),
        rng.uniform(*params.scale),
        size,
    )


def _one_side(scene: SceneVolumes, params: TaskParams, rng: np.random.Generator) -> ImageTask:
    """Show one volume twice, the second time bent by a thin plate (paper, section II.D.1)."""
    size = params.size_um
    in_vivo = rng.random() < 0.5
    volume = scene.two_photon if in_vivo else scene.fmost
    extent = np.array(volume.shape) - 1.0
    depth = rng.uniform(8.0, extent[0] * STEP_UM[0] - 8.0)
    thick = params.two_photon_um if in_vivo else params.fmost_um
    plane = project(volume, depth, rng.uniform(*thick), rng)
    here = _window(extent[1:], size, params, rng)
    there = _ImageWindow(here.middle + rng.uniform(-1, 1, 2) * params.shift_um, 0.0, 1.0, size)
    bend = _thin_plate(size, params, rng)
    # The target's pixel v shows the place of v + bend(v); its inverse is found by iteration.
    grid = _pixels(size)
    at = there.place(grid + bend.reshape(-1, 2))
    nothing = float(np.median(plane))
    target = map_coordinates(plane, at.T, order=1, mode="constant", cval=nothing)
    goal = there.pixel(here.place(grid))
    truth = goal.copy()
    for _ in range(12):
        moved = [map_coordinates(bend[..., k], truth.T, order=1, mode="nearest") for k in (0, 1)]
        truth = goal - np.stack(moved, axis=1)
    truth[~_within(truth, size) | ~_held(here.place(grid), volume.shape[1:])] = np.nan
    cells = scene.two_photon_um if in_vivo else scene.fmost_um
    shown = cells[scene.in_two_photon if in_vivo else scene.in_fmost]
    seen = _somata(shown, depth, 6.0, here)
    full = truth.reshape(size, size, 2).astype(np.float32)
    task = ImageTask(
        here.image(plane), np.float32(target).reshape(size, size), full, (seen, seen[:0])
    )
    mapped = task.map_points(seen)
    return ImageTask(task.source, task.target, full, (seen, mapped[np.isfinite(mapped[:, 0])]))


def _thin_plate(size: int, params: TaskParams, rng: np.random.Generator) -> Float64Array:
    """Return a displacement of each pixel, (S, S, 2), in pixels."""
    every = rng.uniform(*params.bend_every_um)
    at = np.arange(-every / 2, size + every, every)
    control = np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1).reshape(-1, 2)
    control = control + rng.uniform(-0.25, 0.25, control.shape) * every
    spline = RBFInterpolator(
        control, rng.standard_normal(control.shape), kernel="thin_plate_spline"
    )
    coarse = np.arange(0, size + 8, 8.0)
    nodes = np.stack(np.meshgrid(coarse, coarse, indexing="ij"), axis=-1)
    field = spline(nodes.reshape(-1, 2)).reshape(nodes.shape)
    field -= field.mean(axis=(0, 1))
    field *= min(rng.uniform(*params.bend_um), 0.12 * every) / np.sqrt((field**2).sum(-1).mean())
    fine = _pixels(size).T / 8.0
    full = [map_coordinates(field[..., k], fine, order=1) for k in range(2)]
    return np.stack(full, axis=1).reshape(size, size, 2)


def blemished(image: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Return an image with another contrast, shading, blur and noise (augmentation)."""
    lifted = np.clip(image, 0, None)
    lifted = lifted / max(float(np.percentile(lifted, 99.5)), 1e-6)
    values = np.clip(lifted, 0, 4) ** rng.uniform(0.5, 1.3)
    if rng.random() < 0.5:
        shade = gaussian_filter(rng.standard_normal((16, 16)), 2.5)
        shade = map_coordinates(shade, _pixels(len(image)).T * 15 / (len(image) - 1), order=1)
        values = values * np.exp(1.5 * shade.reshape(image.shape) / max(shade.std(), 1e-6) * 0.3)
    if rng.random() < 0.4:
        values = gaussian_filter(values, rng.uniform(0.3, 1.5))
    if rng.random() < 0.6:
        level = rng.uniform(0.0, 0.12)
        noise = rng.standard_normal(image.shape)
        values = values + level * (noise if rng.random() < 0.5 else gaussian_filter(noise, 0.8) * 2)
    return np.asarray(values, dtype=np.float32)


def _pixels(size: int) -> Float64Array:
    at = np.arange(size, dtype=np.float64)
    return np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1).reshape(-1, 2)


def _within(pixels: Float64Array, size: int) -> npt.NDArray[np.bool_]:
    return np.asarray(((pixels >= 0) & (pixels <= size - 1)).all(axis=1))


def _held(places: Float64Array, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    return np.asarray(((places >= 0) & (places <= np.array(shape) - 1.0)).all(axis=1))


def _somata(
    cells_um: Float64Array, depth_um: float, reach_um: float, window: _ImageWindow
) -> Float64Array:
    near = cells_um[np.abs(cells_um[:, 0] - depth_um) < reach_um]
    pixels = window.pixel(near[:, 1:])
    return pixels[_within(pixels, window.size)]
