import numpy as np
import pytest
import torch

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.crops import extract_crops, normalize_crops
from napari_neurobridge.io.ome_zarr import write_ome_zarr
from napari_neurobridge.io.volumes import open_volume
from napari_neurobridge.simulation.levels import LEVELS, TissueParams, TwoPhotonParams
from napari_neurobridge.simulation.optics import TwoPhotonCamera, label_two_photon
from napari_neurobridge.simulation.pairs import PairSet, project_crops, simulate_pairs
from napari_neurobridge.simulation.render import Grid, PointCloud, Renderer
from napari_neurobridge.simulation.tissue import make_tissue


@pytest.fixture(scope="module")
def pairs() -> PairSet:
    return simulate_pairs(44, seed=5, level="easy", cells_per_scene=22)


def pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the correlation of every crop with every other, after some blur by pooling."""

    def standardised(crops: np.ndarray) -> np.ndarray:
        pooled = crops.reshape(len(crops), 30, 5, 30, 5).mean(axis=(2, 4)).reshape(len(crops), -1)
        pooled = pooled - pooled.mean(axis=1, keepdims=True)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    return standardised(first) @ standardised(second).T


def test_crops_have_the_promised_form(pairs):
    for side in (pairs.two_photon, pairs.fmost):
        assert side.shape == (44, 150, 150)
        assert side.dtype == np.float32
        assert side.min() == 0.0 and side.max() == 1.0
        assert (side.std(axis=(1, 2)) > 0.05).all()
    assert pairs.scene.dtype == np.int64
    assert np.bincount(pairs.scene).tolist() == [22, 22]


def test_same_seed_same_pairs_and_more_only_adds():
    few, more = (simulate_pairs(n, seed=1, cells_per_scene=4) for n in (4, 6))
    other = simulate_pairs(4, seed=2, cells_per_scene=4)
    for side in ("two_photon", "fmost"):
        assert np.array_equal(getattr(few, side), getattr(more, side)[:4])
        assert not np.array_equal(getattr(few, side), getattr(other, side))
    assert more.scene.tolist() == [0, 0, 0, 0, 1, 1]


def test_partners_are_more_alike_than_strangers_and_shuffled_at_chance(pairs):
    for scene in (0, 1):
        chosen = pairs.scene == scene
        similarity = pearson(pairs.two_photon[chosen], pairs.fmost[chosen])
        n = len(similarity)
        partners = similarity.diagonal().mean()
        strangers = (similarity.sum() - similarity.trace()) / (n * (n - 1))
        assert partners > strangers + 0.1
        shuffled = similarity[np.arange(n), np.roll(np.arange(n), 7)].mean()
        assert abs(shuffled - strangers) < 0.1


def test_padding_says_nothing_about_the_partner():
    paper = LEVELS["paper"]
    bordered = paper.model_copy(
        update={"misfit": paper.misfit.model_copy(update={"border_fraction": 1.0})}
    )
    pairs = simulate_pairs(24, seed=3, level=bordered, cells_per_scene=24)
    tops = [
        np.argmax((side > 0).mean(axis=2) > 0.001, axis=1)
        for side in (pairs.two_photon, pairs.fmost)
    ]
    assert min(top.std() for top in tops) > 5
    assert abs(np.corrcoef(*tops)[0, 1]) < 0.5


def test_a_crop_of_a_stored_volume_agrees_with_the_direct_crop(tmp_path):
    low, high = (0.0, 0.0, 0.0), (60.0, 180.0, 180.0)
    tissue = make_tissue(low, high, TissueParams(), np.random.default_rng(0))
    params = TwoPhotonParams(visible_fraction=1.0, photons=400.0)
    generator = torch.Generator().manual_seed(0)
    label = label_two_photon(tissue, params, generator)
    camera = TwoPhotonCamera(low, high, params, generator)
    renderer = Renderer(PointCloud(tissue.morphology.position_um, label.amount))
    grid = Grid((30, 180, 180), camera.step_um)
    origin = torch.zeros(1, 3)
    image = camera.expose(renderer.render(origin, grid, camera.sigma_um), origin, grid)[0]
    counts = (1000 * image + 200).clamp(min=0).numpy().astype(np.uint16)
    write_ome_zarr(tmp_path / "a.ome.zarr", counts, voxel_size_um=camera.step_um)
    volume = open_volume(tmp_path / "a.ome.zarr", name="two_photon")

    centers = np.array([[30.0, 90.0, 90.0], [25.0, 70.0, 110.0]])
    stored = extract_crops(volume, centers)
    unlimited = torch.full((2, 2, 3), torch.inf)
    direct, inside = project_crops(renderer, torch.from_numpy(centers).float(), camera, unlimited)
    assert inside.all()
    direct = normalize_crops(direct.numpy())
    for first, second in zip(stored, direct, strict=True):
        assert (
            np.corrcoef(first[15:-15, 15:-15].ravel(), second[15:-15, 15:-15].ravel())[0, 1] > 0.9
        )


def test_saved_pairs_come_back(pairs, tmp_path):
    path = tmp_path / "pairs.npz"
    pairs.save(path)
    loaded = PairSet.load(path)
    assert len(loaded) == len(pairs)
    assert loaded.two_photon.dtype == np.float32
    assert np.abs(loaded.two_photon - pairs.two_photon).max() <= 0.5 / 255 + 1e-6
    assert np.abs(loaded.fmost - pairs.fmost).max() <= 0.5 / 255 + 1e-6
    assert np.array_equal(loaded.scene, pairs.scene)


def test_float_crops_of_others_are_read_as_they_are(tmp_path):
    crops = np.random.default_rng(0).random((3, 150, 150)).astype(np.float16)
    np.savez(tmp_path / "theirs.npz", two_photon=crops, fmost=crops, scene=np.zeros(3))
    assert np.array_equal(PairSet.load(tmp_path / "theirs.npz").fmost, crops.astype(np.float32))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"two_photon": np.zeros((2, 5, 5)), "scene": np.zeros(2)}, "lacks an array"),
        (
            {"two_photon": np.zeros((2, 5, 5)), "fmost": np.zeros((3, 5, 5)), "scene": np.zeros(2)},
            "of one shape",
        ),
        (
            {"two_photon": np.array([{}]), "fmost": np.zeros(1), "scene": np.zeros(1)},
            "readable npz",
        ),
    ],
)
def test_bad_files_of_pairs_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=message):
        PairSet.load(tmp_path / "bad.npz")


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        PairSet.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("not a zip")
    with pytest.raises(InputError, match="readable npz"):
        PairSet.load(tmp_path / "text.npz")


def test_bad_requests_are_refused():
    with pytest.raises(InputError, match="no simulation level"):
        simulate_pairs(1, seed=0, level="nightmare")
    with pytest.raises(InputError, match="at least 1"):
        simulate_pairs(0, seed=0)
    paper = LEVELS["paper"]
    dark = paper.model_copy(
        update={"fmost": paper.fmost.model_copy(update={"labelled_fraction": 0.0})}
    )
    with pytest.raises(InputError, match="visible on both sides"):
        simulate_pairs(1, seed=0, level=dark, cells_per_scene=1)


def test_cancelling_stops_between_scenes():
    asked = []

    def report(done: int, total: int, message: str) -> None:
        asked.append((done, total))
        if done:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        simulate_pairs(6, seed=0, cells_per_scene=2, report=report)
    assert asked == [(0, 6), (2, 6)]
