"""Measure how long it takes to tell what accepting a pair would change.

Prints what docs/benchmarks.md says: for a field of 1,000 × 1,000 cells and one of 500 × 21,571, the
seconds of a first match, and of the preview of a right and of a wrong pair.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from napari_neurobridge.io.tables import write_points
from napari_neurobridge.matching.match_datasets import match_datasets
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.judging import Judgement
from napari_neurobridge.types import Role, Verdict
from napari_neurobridge.workflows.consequence import consequence_of
from napari_neurobridge.workflows.setup import DatasetSource, create_project

FIELDS = ((1000, 1000, (200.0, 500.0, 500.0)), (500, 21571, (400.0, 1600.0, 1600.0)))
WITH_PARTNER, N_ACCEPTED, FDR = 0.8, 15, 0.05


def main() -> None:
    """Measure both fields."""
    for n_queries, n_gallery, size_um in FIELDS:
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), n_queries, n_gallery, np.array(size_um))


def measure(folder: Path, n_queries: int, n_gallery: int, size_um: np.ndarray) -> None:
    """Measure one field of points."""
    rng = np.random.default_rng(0)
    cells = rng.uniform(0, 1, (n_gallery, 3)) * size_um
    gallery = cells + 4 * np.sin(cells[:, [1, 2, 0]] / 70) + rng.normal(0, 1, cells.shape)
    middle = np.argsort(np.abs(cells - size_um / 2).max(axis=1))[: int(1.3 * n_queries)]
    partners = rng.choice(middle, int(WITH_PARTNER * n_queries), replace=False)
    low, high = cells[partners].min(axis=0), cells[partners].max(axis=0)
    alone = rng.uniform(low, high, (n_queries - len(partners), 3))
    sides = {"two_photon": np.vstack([cells[partners], alone]), "fmost": gallery}
    for name, points in sides.items():
        uids = [f"{name[0]}{row:05d}" for row in range(len(points))]
        write_points(folder / f"{name}.csv", uids, points)
    project = create_project(
        folder / "p.neurobridge",
        [
            DatasetSource("two_photon", Role.IN_VIVO, points=folder / "two_photon.csv"),
            DatasetSource("fmost", Role.EX_VIVO, points=folder / "fmost.csv"),
        ],
    )
    for row in range(0, 4 * N_ACCEPTED, 4):
        annotate.accept(project, f"t{row:05d}", f"f{partners[row]:05d}", annotator="me")
    begun = time.perf_counter()
    match = match_datasets(project)
    match.matched()
    print(f"{n_queries} × {n_gallery}: first match {time.perf_counter() - begun:.2f} s")
    distance = np.linalg.norm(gallery - gallery[partners[1]], axis=1)
    for words, soma in (("right", partners[1]), ("wrong", np.argsort(distance)[3])):
        judgement = Judgement(Verdict.ACCEPT, "t00001", f"f{soma:05d}")
        begun = time.perf_counter()
        found = consequence_of(project, match, judgement, FDR, annotator="me")
        seconds = time.perf_counter() - begun
        print(f"  a {words} pair: {seconds:.2f} s, changes {found.n_others} others")
    project.close()


if __name__ == "__main__":
    main()
