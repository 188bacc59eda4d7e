from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.constellation.affine_search import (
    LocalAffine,
    ScaledGallery,
    best_per_row,
    find_local_affine,
    top_candidates,
)
from napari_neurobridge.matching.constellation.model import (
    Constellation,
    ConstellationConfig,
    embedding_codes,
    load_constellation,
    save_constellation,
)
from napari_neurobridge.matching.constellation.windows import (
    common_spacing_um,
    one_to_one,
    trial_rotations,
    windows,
)
from napari_neurobridge.models.zoo import find_model

TINY = ConstellationConfig(neighbours=5, hidden=8, frequencies=4, code=4, dim=16, heads=2, layers=2)


def tiny() -> Constellation:
    torch.manual_seed(0)
    return Constellation(TINY).eval()


@pytest.mark.parametrize(("count", "size"), [(5, 20), (300, 40), (1000, 144)])
def test_windows_cover_all_points_and_overlap(count: int, size: int):
    points = np.random.default_rng(0).uniform(0, 1, (count, 3)) * (1, 5, 5)
    found = windows(points, size)
    assert all(len(np.unique(rows)) == len(rows) <= size for rows in found)
    assert set(np.concatenate(found).tolist()) == set(range(count))
    if count > size:
        assert all(len(rows) == size for rows in found)


def test_points_in_one_place_still_have_windows():
    assert set(np.concatenate(windows(np.zeros((50, 3)), 10)).tolist()) == set(range(50))


def test_every_turn_of_thirty_degrees_is_near_one_that_is_tried():
    rng = np.random.default_rng(1)
    tried = Rotation.from_matrix(trial_rotations(13))
    axes = rng.standard_normal((300, 3))
    axes *= np.deg2rad(rng.uniform(0, 30, (300, 1))) / np.linalg.norm(axes, axis=1, keepdims=True)
    nearest = [(tried.inv() * Rotation.from_rotvec(axis)).magnitude().min() for axis in axes]
    assert np.rad2deg(max(nearest)) < 21
    np.testing.assert_allclose(trial_rotations(1), np.eye(3)[None])


def test_merging_keeps_the_surest_and_is_one_to_one():
    pairs = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, 2]])
    kept, confidence = one_to_one(pairs, np.array([0.5, 0.9, 0.4, 0.8, 0.1]))
    assert kept.tolist() == [[0, 1], [1, 0], [2, 2]]
    assert confidence.tolist() == [0.9, 0.4, 0.1]
    assert len(one_to_one(np.empty((0, 2), dtype=np.intp), np.empty(0))[0]) == 0


def test_the_spacing_is_the_edge_of_a_points_own_cube():
    points = np.random.default_rng(2).uniform(0, 100, (4000, 3))
    # Points at the border have farther neighbours.
    assert common_spacing_um(points, 2 * points) == pytest.approx(6.3 * 2**0.5, rel=0.1)


class TestSearch:
    def setup_method(self):
        rng = np.random.default_rng(3)
        self.queries = rng.uniform(-3, 3, (140, 3))
        turn = Rotation.from_rotvec([0.2, -0.1, 0.15]).as_matrix()
        self.linear = turn @ np.diag([1.1, 0.9, 1.0])
        image = self.queries @ self.linear.T + (4.0, 1.0, -2.0)
        image += rng.normal(0, 0.05, image.shape)
        absent = rng.random(140) < 0.3
        points = np.vstack([image[~absent], rng.uniform(-4, 9, (60, 3))])
        self.partner = np.where(absent, -1, np.cumsum(~absent) - 1)
        self.gallery = ScaledGallery(points, cKDTree(points), 1.0)
        # One candidate in five is right, as from a poor network.
        said = rng.random((140, len(points))).astype(np.float32) * 0.02
        known = np.flatnonzero(~absent & (rng.random(140) < 0.4))
        said[known, self.partner[known]] = 0.3
        self.candidates = top_candidates(said)

    def test_the_map_that_most_matches_agree_on_is_found(self):
        start = find_local_affine(
            self.queries, self.gallery, self.candidates, np.random.default_rng(0), samples=500
        )
        assert start is not None
        assert np.abs(start.linear - self.linear).max() < 0.05
        pairs = start.matches(self.queries, self.gallery)
        right = self.partner[pairs[:, 0]] == pairs[:, 1]
        assert right.mean() > 0.95
        assert right.sum() > 25
        assert len(np.unique(pairs[:, 1])) == len(pairs)

    def test_another_gallery_has_far_less_evidence(self):
        points = self.gallery.points
        points = points + np.random.default_rng(9).normal(0, 0.6, points.shape)
        other = ScaledGallery(points, cKDTree(points), 1.0)
        found = [
            find_local_affine(
                self.queries, side, self.candidates, np.random.default_rng(0), samples=500
            )
            for side in (self.gallery, other)
        ]
        assert found[0].evidence > 3 * max(found[1].evidence, 1.0)

    def test_a_rotation_before_is_part_of_the_map(self):
        start = find_local_affine(
            self.queries, self.gallery, self.candidates, np.random.default_rng(0), samples=100
        )
        turn = Rotation.from_rotvec([0.3, 0.1, 0.0]).as_matrix()
        before = start.after(turn)
        np.testing.assert_allclose(
            before.move(self.queries), start.move(self.queries @ turn.T), atol=1e-9
        )

    def test_a_soma_belongs_to_one_query_of_each_list(self):
        rows = np.array([[4, 4, 2], [4, 2, 2]])
        value = np.array([[0.1, 0.7, 0.0], [0.0, 0.3, 0.2]])
        assert best_per_row(rows, value).tolist() == [[False, True, True], [True, True, False]]

    def test_a_map_that_shrinks_all_on_one_soma_explains_nothing(self):
        few = ScaledGallery(self.gallery.points[:3], cKDTree(self.gallery.points[:3]), 1.0)
        start = LocalAffine(0.01 * np.eye(3), np.zeros(3), few.points[0], 0.0)
        assert len(start.matches(self.queries, few)) <= 1

    def test_no_probability_gives_no_map(self):
        nothing = (self.candidates[0], np.zeros_like(self.candidates[1]))
        rng = np.random.default_rng(0)
        assert find_local_affine(self.queries, self.gallery, nothing, rng, samples=50) is None


class TestNetwork:
    def test_the_origin_of_either_side_does_not_matter(self):
        first, second = torch.randn(1, 20, 3), torch.randn(1, 25, 3)
        network = tiny()
        with torch.no_grad():
            here = network((first, second)).log_assignment[-1]
            there = network((first + 5, second - 3)).log_assignment[-1]
        torch.testing.assert_close(here, there, atol=1e-3, rtol=1e-3)

    def test_embeddings_change_what_it_says_and_zeros_do_not(self):
        first, second = torch.randn(1, 20, 3), torch.randn(1, 25, 3)
        network = tiny()
        codes = (torch.randn(1, 20, 4), torch.randn(1, 25, 4))
        zeros = (torch.zeros(1, 20, 4), torch.zeros(1, 25, 4))
        with torch.no_grad():
            plain, same, other = (
                network((first, second), given).log_assignment[-1] for given in (None, zeros, codes)
            )
        torch.testing.assert_close(plain, same)
        assert (plain - other).abs().max() > 1e-3

    def test_gradients_reach_every_part(self):
        network = tiny()
        output = network((torch.randn(1, 20, 3), torch.randn(1, 25, 3)))
        sum(scores.sum() for scores in output.log_assignment).backward()
        silent = [
            name
            for name, p in network.named_parameters()
            if (p.grad is None or not p.grad.any()) and "confidences" not in name
        ]
        assert [name for name in silent if "to_qk.bias" not in name] == []

    def test_a_folder_gives_the_network_back(self, tmp_path: Path):
        network = tiny()
        stored = save_constellation(network, tmp_path)
        again = load_constellation(tmp_path)
        positions = (torch.randn(1, 12, 3), torch.randn(1, 15, 3))
        with torch.no_grad():
            torch.testing.assert_close(
                again(positions).log_assignment[-1],
                network(positions).log_assignment[-1],
                atol=0.05,
                rtol=0.05,
            )
        assert len(stored.hash) == 12

    def test_a_folder_that_does_not_fit_is_refused(self, tmp_path: Path):
        with pytest.raises(InputError, match="no model configuration"):
            load_constellation(tmp_path)
        save_constellation(tiny(), tmp_path)
        config = tmp_path / "config.toml"
        text = config.read_text()
        config.write_text(text.replace("layers = 2", "layers = 3"))
        with pytest.raises(InputError, match="damaged or was changed"):
            load_constellation(tmp_path)
        (tmp_path / "SHA256SUMS").unlink()
        with pytest.raises(InputError, match="do not fit"):
            load_constellation(tmp_path)
        config.write_text(text.replace("schema_version = 1", "schema_version = 9"))
        with pytest.raises(InputError, match="newer version 9"):
            load_constellation(tmp_path)
        config.write_text(text.replace("hidden = 8", "hidden = 1000000000"))
        with pytest.raises(InputError, match=r"hidden: .* less than or equal to 1024"):
            load_constellation(tmp_path)

    def test_an_encoder_is_no_matcher(self):
        with pytest.raises(InputError, match="'compact' is a model of the kind 'encoder'"):
            load_constellation(find_model("compact"))


class TestCodes:
    def test_partners_that_look_alike_have_codes_alike(self):
        rng = np.random.default_rng(4)
        latent = rng.standard_normal((60, 3))
        mixing = rng.standard_normal((3, 40))
        first = latent @ mixing + 0.05 * rng.standard_normal((60, 40))
        second = latent @ mixing + 7.0 + 0.05 * rng.standard_normal((60, 40))
        codes = embedding_codes(first, second, 3)
        away = np.linalg.norm(codes[0][:, None] - codes[1][None], axis=2)
        assert (away.argmin(axis=1) == np.arange(60)).mean() > 0.9
        np.testing.assert_allclose(np.vstack(codes).var(axis=0), 1.0, atol=1e-4)

    def test_components_that_do_not_exist_are_zero(self):
        codes = embedding_codes(np.eye(4)[:, :2], np.eye(4)[:, :2], 5)
        assert codes[0].shape == (4, 5)
        assert not codes[0][:, 2:].any()
        assert not embedding_codes(np.ones((4, 2)), np.ones((3, 2)), 5)[0].any()

    @pytest.mark.parametrize(
        ("first", "second", "message"),
        [
            (np.ones((4, 2)), np.ones((4, 3)), "one length"),
            (np.full((4, 2), np.nan), np.ones((4, 2)), "NaN"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, first, second, message: str):
        with pytest.raises(InputError, match=message):
            embedding_codes(first, second, 2)
