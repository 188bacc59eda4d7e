"""Two images of one real plane, whose cells people outlined, and how an encoder ranks partners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_neurobridge.benchmarks.points import read_point_pairs
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import extract_crops
from napari_neurobridge.io.volumes import open_volume
from napari_neurobridge.training.evaluation import top_k_curve
from napari_neurobridge.training.evaluation_report import GATE_UM

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.types import Float32Array, FloatArray, Report

IntArray = npt.NDArray[np.int64]

QUERIES, GALLERY, PAIRS = "in_vivo.csv", "ex_vivo.csv", "silver.csv"
IMAGES = ("in_vivo.tif", "ex_vivo.tif")


@dataclass(frozen=True, eq=False)
class RealPairs:
    """Crops of the cells of two real planes; some of the partners are known.

    Attributes
    ----------
    two_photon : ndarray of float32, shape (Q, 150, 150)
        Crops of the in-vivo cells whose partners are known.
    fmost : ndarray of float32, shape (G, 150, 150)
        Crops of all ex-vivo cells.
    partner : ndarray of int, shape (Q,)
        Row of the gallery that shows the same cell.
    gallery_um : ndarray of float64, shape (G, 3)
        Where the cells of the gallery lie, µm (z, y, x).
    """

    two_photon: Float32Array
    fmost: Float32Array
    partner: IntArray
    gallery_um: FloatArray


def read_real_pairs(
    folder: Path, *, pixel_um: tuple[float, float], report: Report | None = None
) -> RealPairs:
    """Read a folder of two images, two tables of cells and known pairs, and crop the cells.

    Parameters
    ----------
    folder : Path
        Holds ``in_vivo.tif`` and ``ex_vivo.tif``, one plane each; ``in_vivo.csv`` and
        ``ex_vivo.csv`` with columns uid,z_um,y_um,x_um; and ``silver.csv``, two columns of
        uids. Both planes are taken to be turned alike.
    pixel_um : tuple of float
        Side of a pixel in the in-vivo and the ex-vivo image, in the µm of the tables.
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If a file is missing or unreadable, or no pair is known.
    """
    points = read_point_pairs(folder / QUERIES, folder / GALLERY, folder / PAIRS)
    asked = np.flatnonzero(points.partner >= 0)
    if not len(asked):
        raise InputError(f"{folder / PAIRS} names no pair.")
    crops = [
        extract_crops(
            open_volume(folder / name, name=name, voxel_size_um=(1.0, side, side)),
            centers_um,
            report=report,
        )
        for name, side, centers_um in zip(
            IMAGES, pixel_um, (points.queries_um[asked], points.gallery_um), strict=True
        )
    ]
    partner = points.partner[asked].astype(np.int64)
    return RealPairs(crops[0], crops[1], partner, points.gallery_um)


@dataclass(frozen=True, eq=False)
class PartnerRanks:
    """Where the partners of some cells come in a gallery, from 1; ties count against them.

    Attributes
    ----------
    among_all : ndarray of int, shape (Q,)
        Among all cells of the gallery.
    among_near : ndarray of int, shape (Q,)
        Among those within 40 µm of the partner.
    n_near : ndarray of int, shape (Q,)
        Number of cells within 40 µm of the partner, itself among them.
    n_gallery : int
        Number of cells in the gallery.
    """

    among_all: IntArray
    among_near: IntArray
    n_near: IntArray
    n_gallery: int

    def figures(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return what each query contributes to each figure, (Q,); the figure is the mean.

        ``top1`` of all, ``top1_53`` in a random gallery of 53 that holds the partner,
        ``top1_40um`` among the cells within 40 µm, and ``mrr``, the reciprocal rank.
        """
        size = np.array([self.n_gallery])
        first = [top_k_curve(np.array([rank]), size)[0] for rank in self.among_all]
        return {
            "top1": (self.among_all == 1).astype(np.float64),
            "top1_53": np.array(first),
            "top1_40um": (self.among_near == 1).astype(np.float64),
            "mrr": 1.0 / self.among_all,
        }


def rank_partners(
    two_photon: Float32Array, fmost: Float32Array, partner: IntArray, gallery_um: FloatArray
) -> PartnerRanks:
    """Rank each query's partner by the cosine of embeddings.

    Parameters
    ----------
    two_photon, fmost : ndarray of float32, shape (Q, D) and (G, D)
        Unit vectors of the crops.
    partner : ndarray of int, shape (Q,)
        Row of the gallery that each query is said to be.
    gallery_um : ndarray, shape (G, 3)
        Where the cells of the gallery lie, µm (z, y, x).
    """
    similarity = two_photon @ fmost.T
    as_good = similarity >= np.take_along_axis(similarity, partner[:, None], axis=1)
    near = np.zeros(similarity.shape, dtype=np.bool_)
    neighbours = cKDTree(gallery_um).query_ball_point(gallery_um[partner], GATE_UM)
    for query, rows in enumerate(neighbours):
        near[query, rows] = True
    return PartnerRanks(
        as_good.sum(axis=1, dtype=np.int64),
        (as_good & near).sum(axis=1, dtype=np.int64),
        near.sum(axis=1, dtype=np.int64),
        len(fmost),
    )
