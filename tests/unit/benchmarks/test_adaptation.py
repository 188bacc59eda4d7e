"""The benchmark of adaptation: its grid, its statistics, its artefacts, and a small whole."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from scipy.stats import rankdata

from fixtures.patchworks import patchwork, patchwork_tiles
from napari_neurobridge.benchmarks import adaptation, adaptation_domains
from napari_neurobridge.benchmarks.adaptation import AdaptationParameters, benchmark_adaptation
from napari_neurobridge.benchmarks.adaptation_artefacts import KINDS, SEVERITIES, spoilt
from napari_neurobridge.benchmarks.adaptation_domains import read_domains, simulated_domains
from napari_neurobridge.benchmarks.adaptation_figures import (
    WAYS,
    active_adds,
    cells,
    nearest_best,
    reductions,
    regret,
    sampler_efficacy,
)
from napari_neurobridge.benchmarks.adaptation_runs import planned, thinned
from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.levels import DOMAIN_GROUPS

DISTANCES = {
    "a": {"b": 0.1, "c": 0.2, "d": 0.3},
    "b": {"a": 0.1, "d": 0.2, "c": 0.4},
}


def told(values, labels=4):
    return cells({(target, way, None, labels): runs for (target, way), runs in values.items()})


def test_the_plan_holds_every_setting_once_for_each_seed():
    plan = list(
        planned(
            DISTANCES, labels=(1, 4, 64), compared=(4,), rounds=2, seeds=2, sizes={"a": 70, "b": 9}
        )
    )
    found = sorted((way, r.target, r.labels, r.seed) for way, r in plan)
    samplers = ("min", "median", "max", "badge", "clue")
    expected = [
        (way, target, labels, seed)
        for target, seed in product("ab", range(2))
        for labels in ((1, 4, 64) if target == "a" else (1, 4))
        for way in (
            *WAYS,
            *([f"source {s}" for s in DISTANCES[target]] if labels == 4 else []),
            *([f"sampler {s}" for s in samplers] if labels == 4 else []),
        )
    ]
    assert found == sorted(expected)
    for way, run in plan:
        if way == "active farthest":
            assert run.source == {"a": "d", "b": "c"}[run.target]
        elif way == "scratch":
            assert (run.source, run.sampler, run.rounds) == (None, "random", 1)
        elif way == "passive":
            assert (run.source, run.sampler) == ({"a": "b", "b": "a"}[run.target], "random")
        elif way == "active nearest":
            assert (run.sampler, run.rounds) == ("median", 2)


def test_cells_are_means_and_deviations_of_the_runs():
    one, two = told({("a", "scratch"): [1.0, 2.0, 4.0], ("a", "passive"): [0.5]})
    assert (one.n, one.mean) == (3, pytest.approx(7 / 3))
    assert one.sd == pytest.approx(np.sqrt(((1 - 7 / 3) ** 2 + 1 / 9 + 25 / 9) / 2))
    assert (two.n, two.sd) == (1, None)


def test_the_paper_s_shares_of_a_table_done_by_hand():
    table = told(
        {
            ("a", "scratch"): [2.0],
            ("a", "passive"): [1.5],
            ("a", "active farthest"): [1.8],
            ("a", "active nearest"): [1.0],
            ("b", "scratch"): [1.0],
            ("b", "passive"): [1.1],
            ("b", "active farthest"): [1.3],
            ("b", "active nearest"): [1.2],
            ("c", "scratch"): [3.0],
            ("c", "passive"): [1.0],
            ("c", "active farthest"): [2.0],
            ("c", "active nearest"): [2.0],
            ("d", "scratch"): [1.0],
        }
    )
    assert nearest_best(table) == pytest.approx(2 / 3)
    assert active_adds(table) == pytest.approx(1 / 2)
    shares = reductions(table, 4)
    assert shares == pytest.approx({"a": 0.5, "b": -0.2, "c": 1 / 3})
    assert reductions(table, 8) == {}


def test_sampler_efficacy_counts_settings_where_all_were_tried():
    table = told(
        {
            ("a", "sampler min"): [1.0],
            ("a", "sampler max"): [2.0],
            ("b", "sampler min"): [3.0],
            ("b", "sampler max"): [2.0],
            ("c", "sampler max"): [0.1],
        }
    )
    assert sampler_efficacy(table, ("min", "max")) == {"min": 0.5, "max": 0.5}


def test_regret_is_the_loss_against_the_best_source():
    values = {
        ("a", "source b", "b", 4): [1.0],
        ("a", "source c", "c", 4): [2.0],
        ("a", "source d", "d", 4): [3.0],
        ("b", "source a", "a", 4): [2.0],
        ("b", "source c", "c", 4): [1.0],
    }
    found = regret(cells(values), {"a": "b", "b": "a"}, 4)
    assert found is not None
    assert (found.nearest, found.random) == (0.5, pytest.approx((1.0 + 0.5) / 2))
    assert found.ratio == pytest.approx(1 / 1.5)
    # Of two targets there are three draws; the ratio of each is 0, 2/3 or 2.
    assert found.interval == pytest.approx((0.0, 2.0))
    perfect = regret(cells(values), {"a": "b", "b": "c"}, 4)
    assert perfect is not None
    assert perfect.ratio == 0.0
    assert regret(cells(values), {"a": "b", "b": "a"}, 8) is None


@pytest.mark.parametrize(("kind", "severity"), list(product(KINDS, SEVERITIES)))
def test_artefacts_are_where_they_should_be(kind, severity):
    image = patchwork(0, count=1)[0][0]
    bad = spoilt(image, kind, severity, np.random.default_rng(1))
    changed = (bad != image).mean()
    if kind == "contrast":
        assert bad.std() < (0.6 if severity == "minor" else 0.2) * image.std()
    else:
        # Stripes may fall upon each other.
        most = {"minor": 0.09, "major": 0.35}[severity]
        assert 0.02 < changed <= most
        beyond = bad > image.max() if kind == "stripes" else bad < image.min()
        assert (bad != image)[beyond].all() and beyond.any()
    assert bad.dtype == np.float32
    np.testing.assert_array_equal(image, patchwork(0, count=1)[0][0])


def test_thinning_keeps_tiles_of_the_domain_in_order():
    tiles = patchwork_tiles(0)
    some = thinned(tiles, pool=5, test=3)
    assert (len(some.pool), len(some.test)) == (5, 3)
    assert set(some.pool) <= set(tiles.pool)
    assert list(some.pool) == sorted(some.pool)
    assert thinned(tiles, pool=99, test=99).pool == tiles.pool


def test_domains_are_read_from_where_the_file_lies(patchwork_files):
    folder = patchwork_files()
    text = (
        '[domain.one]\nimages = "images.tif"\nlabels = "labels.tif"\npositive = [0]\ntest = [5]\n'
    )
    (folder / "domains.toml").write_text(text)
    tiles = read_domains(folder / "domains.toml", tile_px=48, multiple=8)
    assert list(tiles) == ["one"]
    assert len(tiles["one"].pool) == 20
    (folder / "domains.toml").write_text("[domain]\n")
    with pytest.raises(InputError, match="domain"):
        read_domains(folder / "domains.toml", tile_px=48, multiple=8)
    with pytest.raises(InputError, match="cannot be read"):
        read_domains(folder / "missing.toml", tile_px=48, multiple=8)


@pytest.mark.slow
def test_a_simulated_domain_is_planes_of_scenes_the_last_of_them_held_out(tmp_path, monkeypatch):
    monkeypatch.setattr(adaptation_domains, "DOMAINS", ("domain-A",))
    # As deep as they are, since a scene may be too shallow to be simulated at all.
    monkeypatch.setattr(
        adaptation_domains, "SCENE_UM", (adaptation_domains.SCENE_UM[0], 40.0, 40.0)
    )
    tiles = simulated_domains(tmp_path, tile_px=16, multiple=8)["domain-A"]
    assert tiles.pool
    assert tiles.test
    assert max(corner[0] for corner in tiles.pool) < min(corner[0] for corner in tiles.test)
    assert any(tiles.truth(corner, boundaries=False).any() for corner in tiles.pool)


def test_simulated_domains_are_compared_with_the_groups_that_were_declared():
    near, far = 0.1, 1.0
    distances = {
        one: {
            other: near if DOMAIN_GROUPS[one] == DOMAIN_GROUPS[other] else far
            for other in DOMAIN_GROUPS
            if other != one
        }
        for one in DOMAIN_GROUPS
    }
    found = adaptation._grouping(distances, DOMAIN_GROUPS)
    assert found is not None
    assert found.fowlkes_mallows == pytest.approx(1.0)
    assert found.p_value == found.floor == pytest.approx(1 / 60), "groups of three, two and one"
    assert found.clusters["domain-A"] == found.clusters["domain-F"] != found.clusters["domain-B"]
    assert adaptation._grouping({**distances, "mine": {}}, DOMAIN_GROUPS) is None


SMALL = {
    "labels": (2,),
    "compared": (2,),
    "rounds": 2,
    "steps": 4,
    "source_steps": 6,
    "seeds": 1,
    "width": 2,
    "window_px": 32,
    "batch": 2,
    "passes": 2,
    "pool": 6,
    "held_out": 2,
    "artefact_tiles": 8,
}


def small_domains():
    return {
        "dark": patchwork_tiles(1),
        "darker": patchwork_tiles(2),
        "bright": patchwork_tiles(3, bright=True),
    }


@pytest.fixture(scope="module")
def small_grid(tmp_path_factory):
    cache = tmp_path_factory.mktemp("adaptation")
    parameters = AdaptationParameters(cache=cache, **SMALL)
    return parameters, benchmark_adaptation(parameters, small_domains())


def test_a_small_grid_answers_and_is_not_done_again(small_grid, monkeypatch):
    parameters, found = small_grid
    assert found.runs == found.planned == 3 * (4 + 2 + 5)
    assert {cell.target for cell in found.table} == {"dark", "darker", "bright"}
    assert all(list(row.values()) == sorted(row.values()) for row in found.mmd2.values())
    assert set(found.reduction) == {"2"}
    assert sum(found.sampler_efficacy.values()) == pytest.approx(1)
    by_way = {(c.target, c.way, c.source): c.mean for c in found.table}
    for target, sources in found.mmd2.items():
        near = next(iter(sources))
        assert by_way[target, "active nearest", near] == by_way[target, f"source {near}", near]
        assert by_way[target, "sampler median", near] == by_way[target, f"source {near}", near]
    assert "nearest best" in found.summary()
    assert found.grouping is None, "nobody has declared groups of these"
    json.loads(found.model_dump_json())
    monkeypatch.setattr(adaptation.AdaptationGrid, "prepare", lambda *_: None)
    monkeypatch.setattr(
        "napari_neurobridge.benchmarks.adaptation_runs.adapt",
        lambda *_args, **_kwargs: pytest.fail("a run is done again"),
    )
    assert benchmark_adaptation(parameters, small_domains()) == found


def test_no_run_is_begun_after_the_time_is_over(small_grid, tmp_path):
    parameters, _ = small_grid
    late = parameters.model_copy(update={"cache": tmp_path, "minutes": 1e-9})
    found = benchmark_adaptation(late, small_domains())
    assert (found.runs, found.planned, found.table) == (0, 33, ())
    assert found.nearest_best is None


def test_artefact_tests_are_those_of_mann_and_whitney(small_grid):
    _, found = small_grid
    assert len(found.artefacts) == 3 * 2 * 4
    for test in found.artefacts:
        assert test.auc == pytest.approx(test.u / (test.n * test.n_clean))
        assert 0 < test.p <= 1


def test_u_counts_the_pairs_in_which_a_spoilt_tile_is_less_certain():
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(0)
    bad, clean = rng.normal(1, 1, 7), rng.normal(0, 1, 5)
    u = mannwhitneyu(bad, clean, alternative="greater").statistic
    assert u == sum(b > c for b, c in product(bad, clean))
    assert u == rankdata([*bad, *clean])[:7].sum() - 7 * 8 / 2


def test_too_few_domains_and_stray_budgets_are_refused(tmp_path):
    parameters = AdaptationParameters(cache=tmp_path, **SMALL)
    with pytest.raises(InputError, match="at least three"):
        benchmark_adaptation(parameters, dict(list(small_domains().items())[:2]))
    with pytest.raises(InputError, match="among the labels alone"):
        stray = parameters.model_copy(update={"compared": (3,)})
        benchmark_adaptation(stray, small_domains())
