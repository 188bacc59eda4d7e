"""Real images registered from their pixels alone: two modalities, and two rounds of one block.

Of two modalities nobody knows the truth: the cells that coordinates alone match, from
landmarks, must lie where the transform puts them. Of one modality the truth is a table of pairs;
slabs of the first volume are turned, shifted and bent by a known thin plate before.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import map_coordinates

from napari_neurobridge.benchmarks.contract import BenchmarkParameters, BenchmarkResult
from napari_neurobridge.benchmarks.real_pairs import GALLERY, IMAGES, PAIRS, QUERIES
from napari_neurobridge.benchmarks.real_pairs_projects import find_real_sets
from napari_neurobridge.benchmarks.silver_pairs import read_silver_pairs
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tables import read_points, read_table
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.io.volumes import open_volume
from napari_neurobridge.matching.match_points import match_point_sets, row_of
from napari_neurobridge.registration.image_matches import lifted
from napari_neurobridge.registration.image_registration import register_planes
from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.workflows.plane_files import PlaneFile, read_plane
from napari_neurobridge.workflows.register_images import default_matcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.registration.image_registration import PlaneRegistration
    from napari_neurobridge.types import Report

Float64Array = npt.NDArray[np.float64]

NEAR_UM = 8.0
_HALF_SLAB_UM = 12.0
_PADDING_UM = 110.0
_BEND_UM, _BEND_NODES = 6.0, (7, 9)
_INVERSE_ROUNDS = 40


class RealRegistrationParameters(BenchmarkParameters):
    """Real images of two modalities, or two volumes of one."""

    folder: Path | None = Field(
        None, description="Folder of in_vivo.tif, ex_vivo.tif, their tables and silver.csv."
    )
    draws: int = Field(3, ge=1, description="Draws of landmarks for the matcher's claims.")
    landmarks: int = Field(10, ge=4, description="Of each draw.")
    fixed: Path | None = Field(None, description="First volume of one modality.")
    moving: Path | None = Field(None, description="Second volume.")
    pairs: Path | None = Field(None, description="CSV of their pairs: six columns, fixed first.")
    slabs: int = Field(4, ge=1, description="Slabs of the volumes.")
    seed: int = Field(0, description="Of turns, shifts and bends.")


class RealRow(BaseModel, frozen=True):
    """One registration."""

    what: str
    accepted: bool
    reason: str
    angle_deg: float | None
    compared: int = Field(description="Pairs that were compared with the transform.")
    near: float | None = Field(description="Share of them within 8 µm of it.")
    median_um: float | None
    mean_um: float | None
    seconds: float


class RealRegistrationBenchmark(BenchmarkResult):
    """All registrations."""

    rows: tuple[RealRow, ...]

    def summary(self) -> str:
        """Return a table."""
        header = ("images", "accepted", "pairs", "within 8 µm", "median", "mean", "s")
        lines = [
            (
                row.what,
                "yes" if row.accepted else f"no: {row.reason}",
                str(row.compared),
                *("–" if x is None else f"{x:.3g}" for x in (row.near, row.median_um, row.mean_um)),
                f"{row.seconds:.0f}",
            )
            for row in self.rows
        ]
        return text_table(header, lines)


def run(
    parameters: RealRegistrationParameters, *, report: Report | None = None
) -> RealRegistrationBenchmark:
    """Register what is named.

    Parameters
    ----------
    parameters : RealRegistrationParameters
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If nothing is named, or a file cannot be read.
    """
    volumes = parameters.fixed, parameters.moving, parameters.pairs
    if parameters.folder is None and None in volumes:
        raise InputError(
            "Real images are needed: a folder of two planes, or two volumes with a table of pairs."
        )
    rows: list[RealRow] = []
    if parameters.folder is not None:
        rows += _two_modalities(parameters.folder, parameters)
    if None not in volumes:
        rows += _one_modality(parameters, report)
    return RealRegistrationBenchmark(rows=tuple(rows))


def _two_modalities(folder: Path, asked: RealRegistrationParameters) -> Iterator[RealRow]:
    for real in find_real_sets(folder):
        if real.pixel_um is None:
            continue
        source, target = (
            read_plane(PlaneFile(real.folder / name, pixel))
            for name, pixel in zip(IMAGES, real.pixel_um, strict=True)
        )
        for what, values in (
            ("as they are", target.values),
            ("ex vivo mirrored", target.values[:, ::-1]),
            ("ex vivo turned by 180°", target.values[::-1, ::-1]),
        ):
            seen = PlanarImage.of(np.ascontiguousarray(values), target.pixel_um)
            found, seconds = _registered(source, seen)
            if values is not target.values or found.transform is None:
                yield _row(f"{real.name}, {what}", found, None, seconds)
                continue
            here, there, silver = _tables(real.folder)
            yield _row(
                f"{real.name}, silver pairs",
                found,
                (here[silver[:, 0]], there[silver[:, 1]]),
                seconds,
            )
            for draw in range(asked.draws):
                rng = np.random.default_rng([asked.seed, draw])
                known = silver[rng.permutation(len(silver))[: asked.landmarks]]
                claims = match_point_sets(here, there, [tuple(row) for row in known]).matched()
                rows = np.array(
                    [(row_of(one.in_vivo_uid), row_of(one.ex_vivo_uid)) for one in claims]
                )
                ends = here[rows[:, 0]], there[rows[:, 1]]
                yield _row(f"{real.name}, claims of draw {draw}", found, ends, seconds)


def _tables(folder: Path) -> tuple[Float64Array, Float64Array, npt.NDArray[np.intp]]:
    """Return the somata of both sides and the rows of the silver pairs."""
    (first, here), (second, there) = (read_points(folder / name) for name in (QUERIES, GALLERY))
    pairs = read_table(folder / PAIRS)
    index = [{uid: row for row, uid in enumerate(uids or ())} for uids in (first, second)]
    rows = [
        [index[side][uid] for uid in pairs.text(name)]
        for side, name in enumerate(pairs.columns[:2])
    ]
    return here, there, np.array(rows, dtype=np.intp).T


def _one_modality(asked: RealRegistrationParameters, report: Report | None) -> Iterator[RealRow]:
    assert asked.fixed is not None
    assert asked.moving is not None
    assert asked.pairs is not None
    fixed, moving = (
        open_volume(asked.fixed, name="fixed"),
        open_volume(asked.moving, name="moving"),
    )
    there, here = read_silver_pairs(asked.pairs)
    depths = np.quantile(there[:, 0], np.linspace(0.15, 0.85, asked.slabs))
    for number, depth in enumerate(depths):
        if report is not None:
            report(number, asked.slabs, "registering slabs")
        near = np.abs(there[:, 0] - depth) < _HALF_SLAB_UM
        offset = float(np.median((here - there)[near, 0]))
        near &= np.abs(here[:, 0] - depth - offset) < _HALF_SLAB_UM
        bent, ends = _bent(_slab(moving, depth + offset), here[near, 1:], [asked.seed, number])
        found, seconds = _registered(bent, _slab(fixed, depth))
        places = lifted(ends), np.column_stack([np.zeros(near.sum()), there[near, 1:]])
        yield _row(f"slab at {depth:.0f} µm", found, places, seconds)


def _slab(volume: Volume, depth_um: float) -> PlanarImage:
    """Return the brightest values about a depth."""
    step, pixel = volume.voxel_size_um[0], volume.voxel_size_um[1]
    depth, height, width = volume.shape
    low = int(np.clip((depth_um - _HALF_SLAB_UM) / step, 0, depth - 1))
    high = int(np.clip((depth_um + _HALF_SLAB_UM) / step, low + 1, depth))
    values = np.asarray(volume.read((low, 0, 0), (high, height, width)))
    return PlanarImage.of(values.max(axis=0), pixel)


def _bent(
    plane: PlanarImage, places_um: Float64Array, seed: list[int]
) -> tuple[PlanarImage, Float64Array]:
    """Turn, shift and bend a plane; return it, and where places (N, 2) of it went."""
    rng = np.random.default_rng(seed)
    angle = np.deg2rad(rng.uniform(-30, 30))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = rng.uniform(-30, 30, 2)
    size = np.array(plane.size_um)
    nodes = [
        np.linspace(-100, length + 100, count)
        for length, count in zip(size, _BEND_NODES, strict=True)
    ]
    control = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    bend = RBFInterpolator(
        control, rng.normal(0, _BEND_UM, control.shape), kernel="thin_plate_spline"
    )

    def back(places: Float64Array) -> Float64Array:
        return np.asarray((places - size / 2 - shift) @ turn + size / 2 + bend(places))

    padding = round(_PADDING_UM / plane.pixel_um)
    shape = tuple(length + 2 * padding for length in plane.values.shape)
    grid = np.indices(shape).reshape(2, -1).T - padding
    values = map_coordinates(
        plane.values,
        (back(grid * plane.pixel_um) / plane.pixel_um).T,
        order=1,
        mode="constant",
        cval=float(np.median(plane.values)),
    )
    went = (places_um - size / 2) @ turn.T + size / 2 + shift
    for _ in range(_INVERSE_ROUNDS):
        went = went - (back(went) - places_um) @ turn.T
    image = PlanarImage.of(values.reshape(shape).astype(np.float32), plane.pixel_um)
    return image, went + padding * plane.pixel_um


def _registered(source: PlanarImage, target: PlanarImage) -> tuple[PlaneRegistration, float]:
    began = time.perf_counter()
    return register_planes(source, target, default_matcher()), time.perf_counter() - began


def _row(
    what: str,
    found: PlaneRegistration,
    ends: tuple[Float64Array, Float64Array] | None,
    seconds: float,
) -> RealRow:
    """Compare pairs (N, 3) with the transform, in the plane."""
    off = np.empty(0)
    if ends is not None and found.transform is not None:
        off = np.linalg.norm((found.transform.map_points(ends[0]) - ends[1])[:, 1:], axis=1)
    return RealRow(
        what=what,
        accepted=found.decision.accepted,
        reason=found.decision.reason,
        angle_deg=found.evidence.angle_deg,
        compared=len(off),
        near=float((off < NEAR_UM).mean()) if len(off) else None,
        median_um=float(np.median(off)) if len(off) else None,
        mean_um=float(off.mean()) if len(off) else None,
        seconds=seconds,
    )
