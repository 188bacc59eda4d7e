"""The surface of a plane of cells: from a match, from a project, and as a table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

import napari_neurobridge as nb
from napari_neurobridge.benchmarks.fields import make_field
from napari_neurobridge.cli.export import surface as surface_command
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tables import write_points
from napari_neurobridge.matching.match_points import match_point_sets
from napari_neurobridge.project.log import annotate
from napari_neurobridge.workflows.surface import planar_dataset, surface_of_match

RNG = np.random.default_rng(4)
CELLS = RNG.uniform(0, [0.0, 300.0, 400.0], (80, 3))
SHEET = CELLS * 1.1 + np.column_stack([40 + 20 * np.sin(CELLS[:, 2] / 90), np.zeros((80, 2))])
VOLUME = np.vstack([SHEET, RNG.uniform(0, [80.0, 330.0, 440.0], (60, 3))])
PAIRS = [(row, row) for row in range(0, 80, 6)]


def _off_sheet(vertices: np.ndarray, sheet: np.ndarray) -> np.ndarray:
    """Distances of vertices from a quadric through the cells around each."""
    off = np.empty(len(vertices))
    for row, near in enumerate(cKDTree(sheet).query(vertices, 15)[1]):
        center = sheet[near].mean(axis=0)
        axes = np.linalg.svd(sheet[near] - center)[2]

        def terms(points: np.ndarray) -> np.ndarray:
            u, v = points[:, 0], points[:, 1]
            return np.column_stack([np.ones(len(u)), u, v, u * u, v * v, u * v])

        around = (sheet[near] - center) @ axes.T
        height = np.linalg.lstsq(terms(around), around[:, 2], rcond=None)[0]
        here = ((vertices[row] - center) @ axes.T)[None]
        off[row] = abs(here[0, 2] - (terms(here) @ height)[0])
    return off


@pytest.mark.parametrize("kind", ["sheet", "sheet-in-volume"])
def test_the_surface_of_a_generated_sheet_is_found_from_ten_landmarks(kind: str) -> None:
    field = make_field(kind, 100)
    landmarks = field.draw_landmarks(np.random.default_rng(0), 10)
    match = match_point_sets(
        field.pairs.queries_um, field.pairs.gallery_um, [(q, g) for q, g in landmarks.tolist()]
    )
    mapped = surface_of_match(match)
    assert (mapped.plane, mapped.space) == ("queries", "gallery")
    partner = field.pairs.partner
    true = field.pairs.gallery_um[partner[partner >= 0]]
    vertices, sigma = mapped.surface.vertices_um, mapped.surface.sigma_um
    # Where no cells are around there is nothing to compare with.
    inside = cKDTree(true).query(vertices, [6])[0][:, 0] < 60.0
    assert inside.sum() > 200
    off = _off_sheet(vertices[inside], true)
    assert np.quantile(off, 0.9) < 3.0
    assert (off < 3 * sigma[inside]).mean() >= 0.9


@pytest.mark.parametrize("swapped", [False, True])
def test_the_plane_may_be_either_side(swapped: bool) -> None:
    sides = (VOLUME, CELLS) if swapped else (CELLS, VOLUME)
    result = nb.match_points(*sides, PAIRS)
    mapped = result.plane_surface(spacing_um=25.0)
    assert (mapped.plane, mapped.space) == (
        ("gallery", "queries") if swapped else ("queries", "gallery")
    )
    assert np.quantile(_off_sheet(mapped.surface.vertices_um, SHEET), 0.9) < 5.0
    assert len(mapped.surface.vertices_um) < len(result.plane_surface().surface.vertices_um)


def test_two_volumes_have_no_surface() -> None:
    deep = CELLS + np.column_stack([RNG.uniform(0, 90, 80), np.zeros((80, 2))])
    result = nb.match_points(deep, VOLUME, PAIRS)
    assert planar_dataset(result.match) is None
    said = r"^Neither the somata of 'queries' nor those of 'gallery' lie in one plane\.$"
    with pytest.raises(InputError, match=said):
        result.plane_surface()


def test_a_project_writes_its_surface_as_a_table(tmp_path: Path) -> None:
    tables = tmp_path / "tp.csv", tmp_path / "fm.csv"
    write_points(tables[0], [f"t{row:03d}" for row in range(80)], CELLS)
    write_points(tables[1], [f"f{row:03d}" for row in range(140)], VOLUME)
    project = nb.create(
        tmp_path / "p.neurobridge", two_photon_points=tables[0], fmost_points=tables[1]
    )
    for query, soma in PAIRS:
        annotate.accept(project.folder, f"t{query:03d}", f"f{soma:03d}", annotator="test")
    mapped = project.match().plane_surface()
    project.close()
    written = surface_command(project.path, tmp_path / "surface.csv")
    with (tmp_path / "surface.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    table = np.array([[float(row[c]) for c in ("z_um", "y_um", "x_um")] for row in rows])
    assert written.n == len(rows)
    assert (written.plane, written.space) == ("two_photon", "fmost")
    # The command uses the alignment that the match has left in the project.
    np.testing.assert_allclose(table, mapped.surface.vertices_um, atol=0.01)
    sigma = np.array([float(row["sigma_um"]) for row in rows])
    np.testing.assert_allclose(sigma, mapped.surface.sigma_um, atol=0.01)
    assert "uncertain matches" in written.made_from
    assert f"±{np.median(sigma):.1f} µm" in written.summary()
