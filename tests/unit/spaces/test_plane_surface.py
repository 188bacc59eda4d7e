"""The surface of a plane's somata, from landmarks alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import ConvexHull
from scipy.stats import special_ortho_group

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.alignment import Alignment
from napari_neurobridge.spaces.fit import fit_alignment
from napari_neurobridge.spaces.landmarks import Landmarks
from napari_neurobridge.spaces.plane_surface import lies_in_plane, plane_surface

TILT = special_ortho_group.rvs(3, random_state=3)
SHIFT = np.array([400.0, -50.0, 900.0])
BEND_UM, WIDTH_UM = 15.0, 500.0


def _bent(points: np.ndarray) -> np.ndarray:
    """Return where a plane at z = 0 lies: a trough along x, tilted."""
    bent = points.copy()
    bent[:, 0] += BEND_UM * np.sin(points[:, 2] * np.pi / WIDTH_UM)
    return bent @ TILT.T + SHIFT


def _off_sheet(vertices: np.ndarray) -> np.ndarray:
    back = (vertices - SHIFT) @ TILT
    return back[:, 0] - BEND_UM * np.sin(back[:, 2] * np.pi / WIDTH_UM)


@pytest.fixture(scope="module")
def cells() -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.column_stack([np.zeros(200), rng.uniform(0, [300.0, WIDTH_UM], (200, 2))])


@pytest.fixture(scope="module")
def alignment(cells: np.ndarray) -> Alignment:
    return fit_alignment(Landmarks(cells[:60], _bent(cells[:60])))


def test_a_bent_plane_is_found_with_an_honest_uncertainty(
    alignment: Alignment, cells: np.ndarray
) -> None:
    surface = plane_surface(alignment, cells)
    off = np.abs(_off_sheet(surface.vertices_um))
    assert np.quantile(off, 0.9) < 3.0
    assert (off < 3 * surface.sigma_um).mean() >= 0.9
    assert (surface.sigma_um > 0).all()


def test_the_net_covers_the_somata_without_holes(alignment: Alignment, cells: np.ndarray) -> None:
    surface = plane_surface(alignment, cells, 20.0)
    corners = surface.vertices_um[surface.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    # All triangles face the same way, as those of a smooth sheet do.
    assert ((across @ (TILT @ [1.0, 0.0, 0.0]) > 0).mean()) in (0.0, 1.0)
    area = np.linalg.norm(across, axis=1).sum() / 2
    assert ConvexHull(cells[:, 1:]).volume < area < (300 + 2 * 40) * (WIDTH_UM + 2 * 40)
    nearest = np.linalg.norm(_bent(cells)[:, None] - surface.vertices_um, axis=2).min(axis=1)
    assert nearest.max() < 20.0
    length = np.linalg.norm(np.diff(surface.vertices_um[surface.lines], axis=1)[:, 0], axis=1)
    assert len(np.unique(np.sort(surface.lines, axis=1), axis=0)) == len(surface.lines)
    assert 15 < length.min() <= length.max() < 25


def test_the_uncertainty_grows_away_from_landmarks(cells: np.ndarray) -> None:
    known = cells[cells[:, 2] < WIDTH_UM / 2][:30]
    surface = plane_surface(fit_alignment(Landmarks(known, _bent(known))), cells)
    along = ((surface.vertices_um - SHIFT) @ TILT)[:, 2]
    near = surface.sigma_um[(along > 0) & (along < WIDTH_UM / 2)]
    far = surface.sigma_um[along > 0.8 * WIDTH_UM]
    assert np.median(far) > 2 * np.median(near)
    assert far.min() > np.median(near)


def test_the_uncertainty_is_that_along_the_normal(cells: np.ndarray) -> None:
    class Stretched:
        """Unsure along z alone, and the plane stays where it is."""

        def predict(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return points, np.tile(np.diag([9.0, 100.0, 100.0]), (len(points), 1, 1))

    np.testing.assert_allclose(plane_surface(Stretched(), cells).sigma_um, 3.0)


def test_either_side_may_be_the_plane(cells: np.ndarray) -> None:
    volume = _bent(cells)
    # Here the map is fitted from the volume to the plane, at half the size.
    back = fit_alignment(Landmarks(volume[:60], cells[:60] / 2))
    surface = plane_surface(back.inverse(), cells / 2, 10.0)
    off = np.abs(_off_sheet(surface.vertices_um))
    assert np.quantile(off, 0.9) < 3.0
    assert (off < 3 * surface.sigma_um).mean() >= 0.9
    mean, covariance = back.inverse().predict(cells[:5] / 2)
    np.testing.assert_allclose(mean, back.inverse().expect(cells[:5] / 2)[0])
    noise = back.inverse().expect(cells[:5] / 2)[1] - covariance
    there = (back.prior.sigma_um / back.similarity.scale) ** 2
    np.testing.assert_allclose(noise, np.tile(there * np.eye(3), (5, 1, 1)), atol=1e-9)


def test_the_net_runs_along_the_rows_of_a_recording(cells: np.ndarray) -> None:
    class Same:
        def predict(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return points, np.tile(np.eye(3), (len(points), 1, 1))

    surface = plane_surface(Same(), cells)
    way = np.diff(surface.vertices_um[surface.lines], axis=1)[:, 0]
    np.testing.assert_allclose(
        np.sort(np.abs(way), axis=1), np.tile([0.0, 0.0, 20.0], (len(way), 1)), atol=1e-9
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_line_where_it_crosses_a_slice(
    alignment: Alignment, cells: np.ndarray, axis: int
) -> None:
    surface = plane_surface(alignment, cells)
    depth = float(surface.vertices_um[:, axis].mean())
    lines, sigma = surface.crossing(axis, depth)
    ends = np.vstack([lines[:, 0], lines.sum(axis=1)])
    np.testing.assert_allclose(ends[:, axis], depth)
    # It runs from border to border: all ends but those there are shared by two pieces.
    _, count = np.unique(ends.round(6), axis=0, return_counts=True)
    assert (count == 1).sum() == 2
    assert (count == 2).sum() == len(count) - 2
    assert np.quantile(np.abs(_off_sheet(ends)), 0.9) < 4.0
    low, high = surface.sigma_um.min(), surface.sigma_um.max()
    assert len(sigma) == len(lines)
    assert ((sigma >= low) & (sigma <= high)).all()
    beyond = surface.vertices_um[:, axis].max() + 1.0
    assert surface.crossing(axis, beyond)[0].shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("points", "plane"),
    [
        (np.random.default_rng(0).uniform(0, 200, (50, 3)), False),
        (np.column_stack([np.zeros((50, 2)), np.arange(50.0)]), False),
        (np.zeros((0, 3)), False),
        (np.random.default_rng(0).uniform(0, [2.0, 200.0, 200.0], (50, 3)), True),
    ],
)
def test_only_a_plane_has_a_surface(alignment: Alignment, points: np.ndarray, plane: bool) -> None:
    assert lies_in_plane(points) is plane
    if plane:
        assert len(plane_surface(alignment, points).vertices_um)
        return
    with pytest.raises(InputError, match=r"^These somata do not lie in one plane[^.]*\.$"):
        plane_surface(alignment, points)


@pytest.mark.parametrize("spacing", [0.0, -3.0, float("nan"), float("inf")])
def test_a_spacing_is_a_length(alignment: Alignment, cells: np.ndarray, spacing: float) -> None:
    with pytest.raises(InputError, match=r"^A surface needs meshes of a positive size"):
        plane_surface(alignment, cells, spacing)


def test_a_soma_far_off_does_not_ask_for_millions_of_meshes(
    alignment: Alignment, cells: np.ndarray
) -> None:
    far = np.vstack([cells, [[0.0, 9e6, 3e6]]])
    with_far = plane_surface(alignment, np.vstack([far, [[0.0, 3e6, 9e6]]]))
    assert len(with_far.vertices_um) < 50_000
