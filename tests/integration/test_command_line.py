"""The whole job through the command line, and what it says to bad input."""

from __future__ import annotations

import csv
import io
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import tifffile

from napari_neurobridge.cli import main


def call(*arguments: object) -> tuple[int, str, str]:
    """Run a command in this process; return exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def answer(*arguments: object) -> dict[str, Any]:
    """Run a command that must succeed; return the one JSON object that it prints."""
    code, out, err = call(*arguments, "--json")
    assert code == 0, err
    assert out.endswith("}\n")
    assert out.count("\n") == 1
    return json.loads(out)


def refusal(*arguments: object) -> str:
    """Run a command that must refuse its input; return its one line on stderr."""
    code, out, err = call(*arguments)
    assert code == 2, err
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("Error: ")
    return line


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights; small, so that it embeds at once."""
    import torch

    from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
    from napari_neurobridge.encoder.embed import save_model
    from napari_neurobridge.encoder.local_channel import LocalConfig

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    local = LocalConfig(widths=(8, 16, 16))
    config = EncoderConfig(name="tiny", dim=32, channels="local", local_channel=local)
    save_model(DualChannelEncoder(config), folder)
    return folder


@pytest.fixture(scope="module")
def base(image_folder: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two small images of the same cells, detected and indexed."""
    project = tmp_path_factory.mktemp("base") / "base.neurobridge"
    made = answer(
        "init", project, "--two-photon", image_folder / "two_photon.tif",
        "--fmost", image_folder / "fmost.tif", "--orientation", "+y+z-x",
    )  # fmt: skip
    assert [row["name"] for row in made["datasets"]] == ["two_photon", "fmost"]
    assert [row["n_somata"] for row in made["datasets"]] == [0, 0]
    assert answer("detect", project)["n_somata"] > 10
    assert answer("index", project, "--model", model)["n_embedded"] > 10
    return project


@pytest.fixture
def project(base: Path, request: pytest.FixtureRequest) -> Path:
    """A private copy of that project, beside it, so that it finds the images."""
    copy = base.with_name(f"{request.node.name[:40].replace('[', '-').strip(']')}.neurobridge")
    shutil.copytree(base, copy)
    return copy


def somata_of(project: Path, dataset: str, out: Path) -> list[dict[str, str]]:
    """Return the rows of an exported table of somata."""
    answer("export", project, out, "--format", "csv")
    with (out / f"somata_{dataset}.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


# --- the whole job ---------------------------------------------------------------------


def test_the_whole_job_on_a_simulated_scene(tmp_path: Path, model: Path) -> None:
    scene = answer("simulate", tmp_path / "scene", "--seed", 5, "--size-um", 100, 160, 160)
    assert 0 < scene["n_pairs"] <= scene["n_neurons"]
    with Path(scene["truth"]).open(newline="", encoding="utf-8") as handle:
        truth = list(csv.DictReader(handle))
    assert (
        sum("1" in (row["in_two_photon"], row["in_fmost"]) for row in truth) == scene["n_neurons"]
    )
    both = [row for row in truth if row["in_two_photon"] == row["in_fmost"] == "1"]
    assert len(both) == scene["n_pairs"]

    project = tmp_path / "scene.neurobridge"
    answer(
        "init", project, "--two-photon", scene["two_photon"], "--fmost", scene["fmost"],
        "--orientation", scene["orientation"],
    )  # fmt: skip
    found = answer("detect", project)
    indexed = answer("index", project, "--model", model)
    assert indexed["n_embedded"] == found["n_somata"] > 0
    position = [both[0][f"two_photon_{axis}_um"] for axis in "zyx"]
    candidates = answer("rank", project, "--at", *position, "--model", model)["candidates"]
    (query, *_) = somata_of(project, "two_photon", tmp_path / "out")
    answer("annotate", project, "--accept", query["uid"], candidates[0]["uid"])
    files = answer("export", project, tmp_path / "out")["files"]
    assert all(Path(name).is_file() for name in files)
    assert answer("evaluate", project, "--model", model)["n"] == 1


def test_detect_counts_the_somata_that_the_project_holds(project: Path, tmp_path: Path) -> None:
    found = answer("detect", project, "--dataset", "fmost", "--soma-diameter", 14)
    assert found["datasets"] == {"fmost": found["n_somata"]}
    assert found["n_somata"] == len(somata_of(project, "fmost", tmp_path)) > 5


def test_index_says_what_is_left(project: Path, model: Path) -> None:
    again = answer("index", project, "--model", model)
    assert again["n_embedded"] == 0
    assert again["model"].startswith("tiny@")
    shutil.rmtree(project / "embeddings")
    anew = answer("index", project, "--model", model)
    assert anew["n_embedded"] == sum(anew["n_indexed"].values()) > 0


def test_rank_by_uid_and_back(project: Path, model: Path) -> None:
    there = answer("rank", project, "--uid", "tp-00001", "-k", 4, "--model", model)
    assert there["query_uid"] == "tp-00001"
    assert there["p_none"] is None
    assert len(there["candidates"]) == 4
    keys = {"uid", "z_um", "y_um", "x_um", "similarity", "residual_um", "probability"}
    assert all(keys <= row.keys() for row in there["candidates"])
    assert all(row["probability"] is row["residual_um"] is None for row in there["candidates"])
    best = there["candidates"][0]
    back = answer("rank", project, "--uid", best["uid"], "-k", 1000, "--model", model)
    assert back["gallery_dataset"] == "two_photon"
    returned = {row["uid"]: row["similarity"] for row in back["candidates"]}
    assert returned["tp-00001"] == pytest.approx(best["similarity"], abs=1e-4)


def test_rank_at_a_position_does_not_snap(project: Path, model: Path, tmp_path: Path) -> None:
    row = next(r for r in somata_of(project, "fmost", tmp_path) if r["uid"] == "fm-00001")
    z, y, x = (float(row[axis]) for axis in ("z_um", "y_um", "x_um"))
    options = ("--in", "fmost", "--model", model, "-k", 3)
    on_soma = answer("rank", project, "--at", z, y, x, *options)
    by_uid = answer("rank", project, "--uid", "fm-00001", "--model", model, "-k", 3)
    assert on_soma["query_uid"] is None
    assert [r["uid"] for r in on_soma["candidates"]] == [r["uid"] for r in by_uid["candidates"]]
    # Along x, since fMOST's y is the slab's depth here, along which a maximum hardly changes.
    beside = answer("rank", project, "--at", z, y, x + 3, *options)
    assert beside["query_um"] == pytest.approx([z, y, x + 3])
    assert beside["candidates"] != on_soma["candidates"]


def test_rank_at_the_border_is_padded(project: Path, model: Path) -> None:
    assert answer("rank", project, "--at", 0, 0, 0, "--model", model)["candidates"]
    assert answer("rank", project, "--at", 0, -20, 5, "--model", model)["candidates"]


def test_annotate_export_and_undo(project: Path, model: Path, tmp_path: Path) -> None:
    events = answer(
        "annotate", project, "--accept", "tp-00001", "fm-00002", "--accept", "tp-00002",
        "fm-00001", "--reject", "tp-00003", "fm-00001", "--unsure", "tp-00003", "fm-00003",
        "--none", "tp-00004", "--reason", "cut", "--annotator", "anna",
    )["events"]  # fmt: skip
    assert [event["payload"]["verdict"] for event in events] == [
        "accept", "accept", "reject", "unsure", "none",
    ]  # fmt: skip
    files = answer("export", project, tmp_path, "--format", "csv")["files"]
    names = {Path(name).name for name in files}
    assert names == {"somata_two_photon.csv", "somata_fmost.csv", "pairs.csv", "verdicts.csv"}
    with (tmp_path / "pairs.csv").open(newline="", encoding="utf-8") as handle:
        pairs = list(csv.DictReader(handle))
    assert {(p["two_photon_uid"], p["fmost_uid"]) for p in pairs} == {
        ("tp-00001", "fm-00002"),
        ("tp-00002", "fm-00001"),
    }
    assert {p["annotator"] for p in pairs} == {"anna"}
    assert {(p["two_photon_space"], p["fmost_space"]) for p in pairs} == {("two_photon", "fmost")}
    somata = {row["uid"]: row for row in somata_of(project, "fmost", tmp_path)}
    assert all(p["fmost_z_um"] == somata[p["fmost_uid"]]["z_um"] for p in pairs)

    answer("annotate", project, "--undo", "--annotator", "anna")
    answer("annotate", project, "--undo", "--annotator", "anna")
    answer("annotate", project, "--redo", "--annotator", "anna")
    answer("export", project, tmp_path, "--format", "parquet")
    verdicts = pyarrow.parquet.read_table(tmp_path / "verdicts.parquet").to_pylist()
    assert [v["verdict"] for v in verdicts] == ["accept", "accept", "reject", "unsure"]
    schema = pyarrow.parquet.read_schema(tmp_path / "somata_fmost.parquet")
    assert schema.metadata[b"unit"] == b"micrometer"
    assert schema.metadata[b"axes"] == b"z,y,x"


def test_annotate_from_a_file_then_evaluate(project: Path, model: Path, tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    rows = [f"tp-{n:05d},fm-{n:05d}" for n in range(1, 6)]
    table.write_text("\n".join(["two_photon_uid,fmost_uid", *rows]) + "\n", encoding="utf-8")
    assert len(answer("annotate", project, "--from", table)["events"]) == 5
    result = answer("evaluate", project, "--model", model)
    assert result["n"] == 5
    assert result["topk"]["5"] == 1.0
    for key in ("topk", "topk_53"):
        assert set(result[key]) == {"1", "5", "10"}
    assert {"recall", "specificity", "confusion", "auc"} <= result.keys()


def test_a_second_partner_must_be_forced(project: Path, tmp_path: Path) -> None:
    answer("annotate", project, "--accept", "tp-00001", "fm-00001")
    assert "fm-00001" in refusal("annotate", project, "--accept", "tp-00001", "fm-00002")
    answer("annotate", project, "--accept", "tp-00001", "fm-00002", "--force")
    answer("export", project, tmp_path)
    text = (tmp_path / "pairs.csv").read_text(encoding="utf-8")
    assert "fm-00002" in text
    assert "fm-00001" not in text


def test_evaluate_pairs_of_a_file(model: Path, tmp_path: Path) -> None:
    crops = np.random.default_rng(0).random((2, 6, 150, 150)).astype(np.float32)
    path = tmp_path / "pairs.npz"
    np.savez(path, two_photon=crops[0], fmost=crops[0], scene=np.zeros(6, np.int64))
    result = answer("evaluate", "--pairs", path, "--model", model)
    assert result["n"] == 6
    assert result["topk"]["1"] == 1.0  # both sides are the same images
    assert result["model"].startswith("tiny@")


def test_simulate_pairs_writes_what_evaluate_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_neurobridge.simulation import pairs as simulation
    from napari_neurobridge.simulation.levels import level

    def two_pairs(n: int, *, seed: int, report: object, **request: Any) -> simulation.PairSet:
        assert (n, seed) == (2, 1)
        assert request == {"level": level("easy"), "morphologies": [], "cells_per_scene": 64}
        crops = np.full((2, 150, 150), 0.5, np.float32)
        return simulation.PairSet(crops, crops, np.array([0, 1]))

    monkeypatch.setattr(simulation, "simulate_pairs", two_pairs)
    path = tmp_path / "pairs.npz"
    made = answer("simulate-pairs", path, "--n", 2, "--seed", 1, "--level", "easy")
    assert made == {"n_pairs": 2, "n_scenes": 2, "path": str(path)}
    assert len(simulation.PairSet.load(path)) == 2
    assert "pairs.npz" in refusal("simulate-pairs", tmp_path / "pairs.h5", "--n", 2, "--seed", 1)


TINY_SWC = "1 1 0 0 0 6 -1\n" + "".join(
    f"{n} 3 {10 * n} {3 * n} {5 * n} 0.8 {n - 1}\n" for n in range(2, 9)
)


def test_simulate_pairs_takes_labels_morphologies_and_the_size_of_scenes(tmp_path: Path) -> None:
    swc = tmp_path / "swc"
    swc.mkdir()
    (swc / "a.swc").write_text(TINY_SWC, encoding="utf-8")
    request = ("--n", 3, "--seed", 1, "--level", "easy", "--cells-per-scene", 2)
    files = {}
    for name, options in {
        "plain": (),
        "again": (),
        "labels": ("--labels", "sparse-sparse"),
        "swc": ("--morphologies", swc),
    }.items():
        path = tmp_path / f"{name}.npz"
        made = answer("simulate-pairs", path, *request, *options)
        assert made == {"n_pairs": 3, "n_scenes": 2, "path": str(path)}
        with np.load(path) as arrays:
            files[name] = arrays["two_photon"]
            assert arrays["scene"].tolist() == [0, 0, 1]
    assert np.array_equal(files["plain"], files["again"])
    assert not np.array_equal(files["plain"], files["labels"])
    assert not np.array_equal(files["plain"], files["swc"])


def test_simulate_answers_with_every_file_of_a_scene(tmp_path: Path) -> None:
    swc = tmp_path / "swc"
    swc.mkdir()
    (swc / "a.swc").write_text(TINY_SWC, encoding="utf-8")
    request = ("--seed", 1, "--size-um", 30, 40, 40)
    still = answer("simulate", tmp_path / "still", *request)
    assert still["recording"] is None
    options = ("--frames", 3, "--labels", "dense-sparse", "--level", "domain-A")
    scene = answer(
        "simulate", tmp_path / "moving", *request, *options, "--morphologies", swc,
        "--um-per-unit", 1.5,
    )  # fmt: skip
    assert scene.keys() == still.keys()
    files = ("two_photon", "fmost", "truth", "orientation", "vessels", "recording")
    assert all(Path(scene[name]).exists() for name in files)
    assert tifffile.imread(scene["recording"]).shape == (3, 40, 40)
    assert scene["level_digest"] != still["level_digest"]
    assert len(scene["level_digest"]) == 12


@pytest.mark.slow
def test_benchmark_of_the_simulator() -> None:
    from napari_neurobridge.benchmarks.simulation import SimulationBenchmark

    request = ("--pairs", 1, "--scene-um", 30, 40, 40, "--threads", 1, "--level", "easy")
    figures = answer("benchmark", "simulation", *request)
    assert (figures["pairs"], figures["threads"], figures["device"]) == (1, 1, "cpu")
    assert figures["scene_um"] == [30, 40, 40]
    summary = SimulationBenchmark.model_validate(figures).summary()
    assert "scene of 30 × 40 × 40 µm" in summary
    assert "pairs a second, 1 threads, level easy" in summary


def test_benchmark_of_the_domains(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_neurobridge.benchmarks import domains

    def far_apart(
        encoder: Any, asked: domains.DomainsParameters, **_: object
    ) -> domains.DomainsBenchmark:
        assert (encoder.name, asked.pairs, asked.seed) == ("tiny", 4, 2)
        return domains.DomainsBenchmark(
            model="tiny", domains=("one", "two"), pairs=asked.pairs, mmd2=((0.0, 0.5), (0.5, 0.0)),
            within=(0.05, 0.025), smallest_ratio=10.0,
        )  # fmt: skip

    monkeypatch.setattr(domains, "benchmark_domains", far_apart)
    request = ("benchmark", "domains", "--model", model, "--pairs", 4, "--seed", 2)
    assert answer(*request)["mmd2"] == [[0.0, 0.5], [0.5, 0.0]]
    code, out, _ = call(*request)
    assert code == 0
    assert out.splitlines()[1].split() == ["one", "0.000", "0.500", "0.050"]
    assert out.splitlines()[-1].endswith("10.0")


def test_points_make_a_project_without_images(tmp_path: Path) -> None:
    table = tmp_path / "somata.csv"
    table.write_text("uid,z_um,y_um,x_um\na,1,2,3\nb,4,5,6\n", encoding="utf-8")
    plain = tmp_path / "plain.csv"
    plain.write_text("z_um,y_um,x_um\n1,2,3\n", encoding="utf-8")
    project = tmp_path / "p.neurobridge"
    made = answer("init", project, "--two-photon-points", table, "--fmost-points", plain)
    assert [row["n_somata"] for row in made["datasets"]] == [2, 1]
    assert "import points" in refusal("detect", project)
    assert answer("annotate", project, "--accept", "a", "fm-00001")["events"]
    more = answer("add-dataset", project, "tile_2", plain, "--role", "ex_vivo")
    assert [row["name"] for row in more["datasets"]] == ["two_photon", "fmost", "tile_2"]


def test_transform_there_and_back_is_the_identity(project: Path, tmp_path: Path) -> None:
    there, back, source = (tmp_path / name for name in ("there.csv", "back.csv", "in.csv"))
    source.write_text("uid,z_um,y_um,x_um\na,10,20,30\nb,0,0,0\n", encoding="utf-8")
    result = answer("transform", project, source, there, "--to", "fmost")
    assert (result["n"], result["source"], result["target"]) == (2, "two_photon", "fmost")
    answer("transform", project, there, back, "--to", "two_photon", "--from", "fmost")
    expected = np.genfromtxt(source, delimiter=",", skip_header=1, usecols=(1, 2, 3))
    found = np.genfromtxt(back, delimiter=",", skip_header=1, usecols=(1, 2, 3))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_models_lists_a_projects_own(project: Path, model: Path) -> None:
    shutil.copytree(model, project / "models" / "tiny")
    listed = answer("models", project)["models"]
    assert {"name": "tiny", "origin": "project"}.items() <= listed[0].items()
    assert answer("index", project, "--model", "tiny")["n_embedded"] == 0


# --- bad input -------------------------------------------------------------------------


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A small z-stack that says its axes but no voxel size."""
    path = tmp_path / "stack.tif"
    pixels = np.random.default_rng(0).integers(0, 99, (8, 64, 64)).astype(np.uint16)
    tifffile.imwrite(path, pixels, metadata={"axes": "ZYX"})
    return path


def init(tmp_path: Path, image: Path, *options: object) -> tuple[object, ...]:
    """Return the arguments that make a project of one image on both sides."""
    project = tmp_path / "new.neurobridge"
    return ("init", project, "--two-photon", image, "--fmost", image, *options)


VOXELS = ("--voxel-two-photon", 2, 1, 1, "--voxel-fmost", 2, 1, 1)


def test_missing_file(tmp_path: Path, image: Path) -> None:
    assert "gone.tif" in refusal(*init(tmp_path, tmp_path / "gone.tif", *VOXELS))
    assert not (tmp_path / "new.neurobridge").exists()


def test_truncated_tiff(tmp_path: Path, image: Path) -> None:
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    assert "stack.tif" in refusal(*init(tmp_path, image, *VOXELS))


def test_no_voxel_size(tmp_path: Path, image: Path) -> None:
    assert "--voxel-two-photon" in refusal(*init(tmp_path, image))
    assert not (tmp_path / "new.neurobridge").exists()


def test_a_voxel_size_that_looks_like_a_mistake_is_told(tmp_path: Path, image: Path) -> None:
    doubtful = ("--voxel-two-photon", 2, 1, 1, "--voxel-fmost", 1680, 650, 650)
    (note,) = answer(*init(tmp_path, image, *doubtful))["notes"]
    assert note.startswith("Check the voxel size of fmost: 1680 µm along z is unusual")
    assert "1680 in nm" in note
    usual = init(tmp_path / "b", image, *VOXELS)
    assert answer(*usual)["notes"] == []


def test_axes_that_cannot_be_read(tmp_path: Path, image: Path) -> None:
    assert "axes" in refusal(*init(tmp_path, image, *VOXELS, "--axes", "zqx")).lower()
    odd = tmp_path / "odd.tif"
    tifffile.imwrite(odd, np.zeros((2, 3, 4, 16, 16), np.uint8), photometric="minisblack")
    assert "axes" in refusal(*init(tmp_path, odd, *VOXELS)).lower()


def test_unknown_uid(project: Path, model: Path) -> None:
    assert "tp-77777" in refusal("rank", project, "--uid", "tp-77777", "--model", model)
    assert "fm-77777" in refusal("annotate", project, "--accept", "tp-00001", "fm-77777")


def test_nothing_of_a_list_is_recorded_when_a_uid_is_unknown(project: Path, tmp_path: Path) -> None:
    refusal("annotate", project, "--accept", "tp-00001", "fm-00001", "--reject", "tp-1", "fm-1")
    answer("export", project, tmp_path)
    assert len((tmp_path / "verdicts.csv").read_text(encoding="utf-8").splitlines()) == 1


def test_project_of_a_newer_schema(project: Path) -> None:
    manifest = project / "project.toml"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace("schema_version = 2", "schema_version = 99"), "utf-8")
    assert "newer" in refusal("detect", project)


def test_empty_gallery(tmp_path: Path, image: Path, model: Path) -> None:
    answer(*init(tmp_path, image, *VOXELS))
    project = tmp_path / "new.neurobridge"
    line = refusal("rank", project, "--at", 8, 30, 30, "--model", model)
    assert "neurobridge detect" in line
    assert "neurobridge detect" in refusal("index", project, "--model", model)


def test_nan_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((8, 64, 64)).astype(np.float32)
    pixels[3, 30, 30] = np.nan
    path = tmp_path / "nan.tif"
    tifffile.imwrite(path, pixels, metadata={"axes": "ZYX"})
    answer(*init(tmp_path, path, *VOXELS))
    assert "NaN" in refusal("detect", tmp_path / "new.neurobridge")


def test_unfinished_index(project: Path, model: Path) -> None:
    shutil.rmtree(project / "embeddings")
    line = refusal("rank", project, "--uid", "tp-00001", "--model", model)
    assert "neurobridge index" in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("rank", "PROJECT"), "--uid"),
        (("rank", "PROJECT", "--uid", "tp-00001", "--at", 1, 2, 3), "either"),
        (("rank", "PROJECT", "--at", 1, 2, 3, "--in", "moon"), "moon"),
        (("rank", "PROJECT", "--at", 1, "here", 3), "--at"),
        (("rank", "PROJECT", "--uid", "tp-00001", "--model", "nonsense"), "nonsense"),
        (("detect", "PROJECT", "--dataset", "moon"), "moon"),
        (("detect", "PROJECT", "--soma-diameter", -3), "soma_diameter"),
        (("detect", "PROJECT", "--method", "magic"), "magic"),
        (("annotate", "PROJECT"), "verdicts"),
        (("annotate", "PROJECT", "--undo", "--annotator", "nobody"), "nobody"),
        (("annotate", "PROJECT", "--from", "gone.csv"), "gone.csv"),
        (("annotate", "PROJECT", "--accept", "tp-00001"), "--accept"),
        (("annotate", "PROJECT", "--accept=tp-00001"), "--accept needs two uids"),
        (("annotate", "PROJECT", "--accept=tp-00001", "--reject=tp-00002", "fm-00001"), "two uids"),
        (("export", "PROJECT", "out", "--format", "docx"), "docx"),
        (("evaluate",), "--pairs"),
        (("evaluate", "--pairs", "gone.npz"), "gone.npz"),
        (("index", "gone.neurobridge"), "gone.neurobridge"),
        (("simulate", "out", "--seed", 1, "--level", "absurd"), "easy, paper, hard, domain-A"),
        (("simulate", "out", "--seed", 1, "--labels", "many"), "sparse-sparse, dense-sparse"),
        (("simulate", "out", "--seed", 1, "--frames", 1), "at least 2 frames"),
        (("simulate", "out", "--seed", 1, "--size-um", 1, 1, 1), "30 to 2000 µm"),
        (("simulate", "out", "--seed", 1, "--morphologies", "gone"), "no folder gone"),
        (("simulate", "out", "--seed", 1, "--morphologies", "."), "no .swc file"),
        (("simulate-pairs", "a.npz", "--n", 1, "--seed", 1, "--level", "absurd"), "absurd"),
        (("simulate-pairs", "a.npz", "--n", 1, "--seed", 1, "--labels", "many"), "many"),
        (("simulate-pairs", "a.npz", "--n", 0, "--seed", 1), "--n must"),
        (("simulate-pairs", "a.npz", "--n", 1, "--seed", 1, "--cells-per-scene", 0), "--cells-per"),
        (("simulate-pairs", "a.npz", "--n", 1, "--seed", 1, "--morphologies", "gone"), "gone"),
        (("benchmark", "simulation", "--level", "absurd"), "absurd"),
        (("benchmark", "simulation", "--scene-um", 1, 1, 1), "30 to 2000 µm"),
        (("benchmark", "simulation", "--pairs", 0), "at least 1"),
        (("benchmark", "simulation", "--threads", 0), "at least 1"),
        (("benchmark", "simulation", "--device", "abacus"), "abacus"),
        (("benchmark", "speed"), "speed"),
    ],
)
def test_wrong_use_is_one_clear_line(
    base: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [base if argument == "PROJECT" else argument for argument in arguments]
    if arguments[0] == "evaluate" and len(arguments) > 1:
        given += ["--model", model]
    assert says in refusal(*given)


@pytest.mark.parametrize(
    ("swc", "options", "says"),
    [
        ("1 1 0 0 0 6 2\n2 3 9 9 9 1 1\n", (), "no root"),
        ("1 1 0 0 0 6 -1\n2 3 9 9 9 1 -1\n", (), "root"),
        ("1 1 0 0 0 6 -1\n2 3 9 9 9 0 1\n", (), "radius"),
        ("1 1 0 0 0 6 -1\n2 3 9 9 9 1 3\n3 3 9 9 9 1 2\n", (), "circle"),
        ("soma at the top\n", (), "bad.swc"),
        (TINY_SWC, ("--um-per-unit", 0.1), "--um-per-unit"),
        (TINY_SWC, ("--um-per-unit", 0), "unit"),
    ],
)
def test_a_bad_morphology_is_one_clear_line(
    tmp_path: Path, swc: str, options: tuple[object, ...], says: str
) -> None:
    (tmp_path / "bad.swc").write_text(swc, encoding="utf-8")
    request = ("simulate", tmp_path / "out", "--seed", 1, "--morphologies", tmp_path)
    assert says in refusal(*request, *options)
    assert not (tmp_path / "out").exists()


# --- stopping --------------------------------------------------------------------------


def stopped(command: Sequence[object], message: str, number: int) -> tuple[int, str, list[str]]:
    """Run a command, send it a signal once it says what it does, and return how it ends.

    Returns
    -------
    code : int
    stdout : str
    errors : list of str
        Lines of stderr that are no progress.
    """
    parts = [sys.executable, "-m", "napari_neurobridge.cli", *command, "--json"]
    with subprocess.Popen(
        [*map(str, parts), "--progress", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if json.loads(line)["message"] == message:
                break
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    errors = [line for line in stderr.splitlines() if not line.startswith("{")]
    return process.returncode, stdout, errors


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM for other processes")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_long_command_with_one_line(tmp_path: Path, number: int) -> None:
    out = tmp_path / "pairs.npz"
    command = ("simulate-pairs", out, "--n", 100_000, "--seed", 1)
    code, stdout, errors = stopped(command, "simulating pairs", number)
    assert (code, stdout) == (130, "")
    assert len(errors) == 1
    assert errors[0].startswith("Error: Stopped")
    assert not out.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for other processes")
def test_a_signal_while_recording_leaves_no_half_written_file(tmp_path: Path) -> None:
    out = tmp_path / "scene"
    command = ("simulate", out, "--seed", 1, "--size-um", 30, 40, 40, "--frames", 20_000)
    code, stdout, errors = stopped(command, "simulating a recording", signal.SIGINT)
    assert (code, stdout) == (130, "")
    assert len(errors) == 1
    assert {path.name for path in out.iterdir()} == {"two_photon.ome.tif", "fmost.ome.zarr"}
