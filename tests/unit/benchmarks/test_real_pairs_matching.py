"""Two planes of the same cells, made here, taken through the benchmark of real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from fixtures.projects import ThumbnailEncoder
from napari_neurobridge.benchmarks import real_pairs_matching
from napari_neurobridge.benchmarks.effort_projects import EX_VIVO, IN_VIVO
from napari_neurobridge.benchmarks.real_pairs_matching import (
    RealPairsParameters,
    run,
)
from napari_neurobridge.benchmarks.real_pairs_projects import find_real_sets, real_project
from napari_neurobridge.benchmarks.real_pairs_scores import DecoyFigure, RealTrial, pooled
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import extract_crops
from napari_neurobridge.io.tables import write_points, write_rows

PIXEL_UM = (2.0, 1.5)
WRONG = ("iv-00", "ex-01")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with images and one without; one of the 40 known pairs is wrong."""
    rng = np.random.default_rng(2)
    places = _apart(rng, 90, 420.0)
    bent = places + 3 * np.sin(places[:, ::-1] / 80)
    root = tmp_path_factory.mktemp("real")
    for name in ("seen", "unseen"):
        here = root / name
        here.mkdir()
        uids = [f"iv-{row:02d}" for row in range(60)], [f"ex-{row:02d}" for row in range(90)]
        for side, points in zip(("in_vivo", "ex_vivo"), (places[:60], bent), strict=True):
            own = uids[0] if side == "in_vivo" else uids[1]
            write_points(here / f"{side}.csv", own, np.c_[np.zeros(len(points)), points])
        pairs = [WRONG, *((f"iv-{row:02d}", f"ex-{row:02d}") for row in range(2, 41))]
        write_rows(here / "silver.csv", ["two_photon_uid", "fmost_uid"], pairs)
    looks = rng.uniform(0.2, 1, 90), rng.uniform(4, 9, 90)
    for side, points, pixel in zip(
        ("in_vivo", "ex_vivo"), (places[:60], bent), PIXEL_UM, strict=True
    ):
        tifffile.imwrite(
            root / "seen" / f"{side}.tif", _image(points, pixel, *looks), metadata={"axes": "YX"}
        )
    (root / "seen" / "README.txt").write_text(
        "voxel size (1, 2.0, 2.0) and (1, 1.5, 1.5) um", encoding="utf-8"
    )
    return root


def _apart(rng: np.random.Generator, count: int, side: float) -> np.ndarray:
    """Return places (N, 2) at least 20 µm from each other."""
    places: list[np.ndarray] = []
    while len(places) < count:
        one = rng.uniform(30, side - 30, 2)
        if all(np.linalg.norm(one - other) > 20 for other in places):
            places.append(one)
    return np.array(places)


def _image(
    points: np.ndarray, pixel: float, brightness: np.ndarray, radius: np.ndarray
) -> np.ndarray:
    grid = np.indices((int(420 / pixel),) * 2).transpose(1, 2, 0) * pixel
    image = np.zeros(grid.shape[:2])
    for place, bright, size in zip(points, brightness, radius, strict=False):
        image += bright * np.exp(-(((grid - place) ** 2).sum(axis=-1)) / (2 * (size / 2) ** 2))
    return (1000 * image).astype(np.uint16)


@pytest.fixture
def asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RealPairsParameters:
    monkeypatch.setattr(RealPairsParameters, "encoder", lambda _: ThumbnailEncoder())
    return RealPairsParameters(folder=folder, landmarks=(8,), draws=2, decoys=False)


def test_matches_are_compared_with_known_pairs_and_shown_to_the_pictures(asked):
    result = run(asked)
    rows = {(row.set, row.by): row for row in result.results}
    assert set(rows) == {("seen", "coordinates"), ("seen", "both"), ("unseen", "coordinates")}
    for row in rows.values():
        assert (row.n_queries, row.n_gallery, row.n_known) == (60, 90, 40)
        assert row.started_right == row.draws == 2
        assert row.top1 > 0.9
        assert row.coverage <= row.top1
        assert row.agreement > 0.9
    seen = rows["seen", "coordinates"]
    assert seen.pictures is not None
    assert seen.pictures.within_40um > 0.9 > 2 * seen.pictures.chance_40um
    assert rows["unseen", "coordinates"].pictures is None
    assert [row.set for row in result.images_alone] == ["seen"]
    assert "seen, images alone, 40 known pairs" in result.summary()


def test_the_pictures_side_with_a_claim_against_a_wrong_known_pair(asked):
    (row,) = [row for row in run(asked).results if (row.set, row.by) == ("seen", "coordinates")]
    # The wrong pair was not among those given in at least one draw.
    assert row.n_contradicted >= 1
    assert row.n_sided == row.n_contradicted


def test_each_decoy_is_judged_in_three_ways(asked):
    change = {"decoys": True, "images": False, "draws": 1, "folder": asked.folder / "seen"}
    (row,) = run(asked.model_copy(update=change)).results
    assert len(row.decoys) == 18
    assert {figure.judging for figure in row.decoys} == {"again", "grown", "grown_same_chance"}
    assert row.decoy_again == max(f.share for f in row.decoys if f.judging == "again")
    assert row.wrong_if_absent is not None


def test_draws_are_pooled_decoy_by_decoy():
    def trial(length: int, claimed: int) -> RealTrial:
        figure = DecoyFigure(
            decoy=f"shifted {length} µm",
            judging="again",
            n_claimed=claimed,
            n_asked=50,
            n_followed=1,
        )
        return RealTrial(known=True, decoys=(figure,))

    (figure,) = pooled([trial(61, 2), trial(62, 3)])
    assert (figure.decoy, figure.share, figure.n_followed) == ("shifted 61 µm", 0.05, 2)


def test_where_nobody_knows_the_beginning_it_says_so(asked, monkeypatch):
    def unknown(*_: object, constellation: bool, **__: object) -> None:
        assert constellation
        raise InputError("It cannot be told.")

    monkeypatch.setattr(real_pairs_matching, "match_datasets", unknown)
    asked = asked.model_copy(update={"landmarks": (0,), "folder": asked.folder / "unseen"})
    (row,) = run(asked).results
    assert (row.unknown, row.started_right, row.claimed) == (2, 0, 0.0)


def test_the_sheet_is_drawn(asked, tmp_path):
    path = tmp_path / "sheet.png"
    result = run(asked.model_copy(update={"figure": path, "draws": 1}))
    assert result.figure == str(path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_turned_plane_shows_the_same_cells(folder, tmp_path):
    (real,) = find_real_sets(folder / "seen")
    assert real.pixel_um == PIXEL_UM
    straight = real_project(real, tmp_path / "a.neurobridge")
    turned = real_project(real, tmp_path / "b.neurobridge", angle_deg=70.0)
    assert straight.partner == turned.partner
    crops, places = [], []
    for known in (straight, turned):
        somata = known.project.state().somata[EX_VIVO]
        places.append(np.array([somata[f"ex-{row:02d}"].center_um for row in range(90)]))
        crops.append(extract_crops(known.project.volume(EX_VIVO), places[-1]))
    distances = [np.linalg.norm(at - at[0], axis=1) for at in places]
    np.testing.assert_allclose(*distances, atol=0.01)
    assert np.linalg.norm(places[0] - places[1], axis=1).min() > 1.0
    # The middle of a crop is the cell itself, however the plane is turned.
    middles = [side[:, 68:82, 68:82].mean(axis=(1, 2)) for side in crops]
    assert np.corrcoef(*middles)[0, 1] > 0.95
    assert len(straight.project.state().somata[IN_VIVO]) == 60
    for known in (straight, turned):
        known.project.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folder": Path("nowhere")}, "no silver.csv in nowhere"),
        ({"landmarks": (40,)}, "no 40 known pairs"),
        ({"fdr": 1.0}, "FDR lies between"),
        ({"landmarks": (-1,)}, "no fewer landmarks"),
    ],
)
def test_bad_questions_are_refused(asked, change, message):
    with pytest.raises(InputError, match=message):
        run(asked.model_copy(update={"images": False, **change}))


def test_images_need_the_side_of_their_pixels(folder, tmp_path):
    for file in (folder / "seen").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "README.txt").unlink()
    with pytest.raises(InputError, match="is not stated"):
        find_real_sets(tmp_path)
    (real,) = find_real_sets(tmp_path, (2.0, 1.5))
    assert real.pixel_um == PIXEL_UM
    (tmp_path / "silver.csv").write_text("a,b\niv-00,nobody\n", encoding="utf-8")
    with pytest.raises(InputError, match="in neither table"):
        real_project(real, tmp_path / "p.neurobridge", images=False)
