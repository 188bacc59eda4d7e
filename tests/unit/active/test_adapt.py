"""Algorithm 1 of NeuroADDA on a toy task: a mean that is learned from labelled numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.active.adapt import (
    AdaptParams,
    adapt,
    schedule,
    source_distances,
)
from napari_neurobridge.active.samplers.by_name import SamplerName
from napari_neurobridge.active.samplers.pool import Pool
from napari_neurobridge.errors import InputError
from napari_neurobridge.models.fingerprint import FeatureSample, median_distance, unit_rows

SOURCES = {"far": -3.0, "near": 0.9, "opposite": 3.0}
TRUTH = 1.0


@dataclass
class MeanTask:
    """Learns the mean of the labels of points around 1 by gradient steps on their square error."""

    count: int = 12
    dies_in: int = 0

    @property
    def identity(self):
        return f"mean of {self.count}"

    def __len__(self):
        return self.count

    def _points(self, mean, seed, count):
        rng = np.random.default_rng(seed)
        return np.column_stack([rng.normal(mean, 0.3, count), np.ones(count)])

    def fingerprint(self, source):
        rows = unit_rows(self._points(SOURCES[source], 1, 20))
        return {"numbers": FeatureSample(rows, median_distance(rows))}

    def pool_features(self, source):
        return {"numbers": self._points(TRUTH, 2, self.count)}

    def start(self, source):
        return {"mean": torch.tensor([0.0 if source is None else SOURCES[source]]).double()}

    def pool(self, weights, items, sampler, *, seed):
        rows = self._points(TRUTH, 2, self.count)[items]
        distance = np.abs(rows[:, 0] - float(weights["mean"]))
        return Pool(distance, rows, rows * distance[:, None])

    def train(self, weights, labels, steps, *, seed, checkpoint=None, report=None):
        mean = weights["mean"].clone()
        rng = np.random.default_rng(seed)
        items = sorted(labels)
        for step in range(steps):
            mean += 0.05 * (labels[items[rng.integers(len(items))]] - mean)
            if report is not None:
                report(step + 1, steps, "")
        self.dies_in -= 1
        if self.dies_in == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"mean": mean}

    def evaluate(self, weights):
        return {"error": abs(float(weights["mean"]) - TRUTH)}


def truth(items):
    return [float(TRUTH + 0.01 * (item % 3 - 1)) for item in items]


def bits(adapted):
    return adapted.weights["mean"].numpy().tobytes(), adapted.curve


@given(
    labels=st.integers(1, 70),
    steps=st.integers(1, 200),
    rounds=st.integers(1, 12),
)
def test_the_schedule_spends_all_as_evenly_as_it_can(labels, steps, rounds):
    """Give out labels and steps one after the other, as a dealer would."""
    count = min(rounds, labels)
    if steps < count:
        with pytest.raises(InputError, match="cannot be spread"):
            schedule(labels, steps, rounds)
        return
    dealt = [[0, 0] for _ in range(count)]
    for what, total in enumerate((labels, steps)):
        for number in range(total):
            dealt[number % count][what] += 1
    assert [[plan.labels, plan.steps] for plan in schedule(labels, steps, rounds)] == dealt


def test_the_paper_s_schedule():
    assert [(p.labels, p.steps) for p in schedule(8, 10_000, 4)] == [(2, 2500)] * 4
    assert [(p.labels, p.steps) for p in schedule(1, 10_000, 4)] == [(1, 10_000)]


def test_the_nearest_source_comes_first_and_is_the_best_start():
    task = MeanTask()
    distances = source_distances(task, list(SOURCES))
    assert next(iter(distances)) == "near"
    params = AdaptParams(labels=4, steps=20, rounds=4)
    errors = {name: adapt(task, name, truth, params).curve[-1].figures["error"] for name in SOURCES}
    assert min(errors, key=errors.get) == "near"
    assert errors["near"] < 0.05


@pytest.mark.parametrize("sampler", list(SamplerName))
def test_every_sampler_asks_about_each_item_once(sampler):
    asked = []

    def annotate(items):
        asked.append(list(items))
        return truth(items)

    params = AdaptParams(labels=7, steps=9, rounds=3, sampler=sampler)
    found = adapt(MeanTask(), None, annotate, params)
    assert [len(some) for some in asked] == [3, 2, 2]
    assert len({item for some in asked for item in some}) == 7
    assert [point.items for point in found.curve] == [(), *map(tuple, asked)]
    assert [(p.labels, p.steps) for p in found.curve] == [(0, 0), (3, 3), (5, 6), (7, 9)]


def test_the_median_sampler_reads_the_model_of_its_round():
    """Do the rounds by hand: choose by what the weights say now, train on all labels."""
    task, params = MeanTask(), AdaptParams(labels=4, steps=8, rounds=2, seed=5)
    found = adapt(task, "far", truth, params)
    weights, labels = task.start("far"), {}
    for number in (1, 2):
        left = [item for item in range(len(task)) if item not in labels]
        pool = task.pool(weights, np.array(left), SamplerName.MEDIAN, seed=0)
        order = sorted(
            range(len(left)),
            key=lambda row: abs(pool.uncertainty[row] - np.median(pool.uncertainty)),
        )
        chosen = [left[row] for row in order[:2]]
        labels |= dict(zip(chosen, truth(chosen), strict=True))
        seed = np.random.SeedSequence([5, number, 2]).generate_state(1)[0] % 2**31
        weights = task.train(weights, labels, 4, seed=int(seed))
        assert found.curve[number].items == tuple(chosen)
    assert found.weights["mean"] == weights["mean"]


def test_a_run_that_is_killed_ends_with_the_same_bits(tmp_path: Path):
    """Kill the process with signal 9 in the middle of the third of four rounds, and go on."""
    params = AdaptParams(labels=8, steps=40, rounds=4, sampler=SamplerName.BADGE, seed=3)
    whole = adapt(MeanTask(), "opposite", truth, params)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from test_adapt import MeanTask, truth\n"
        "from napari_neurobridge.active.adapt import AdaptParams, adapt\n"
        "params = AdaptParams.model_validate_json(sys.argv[2])\n"
        "adapt(MeanTask(dies_in=3), 'opposite', truth, params, folder=Path(sys.argv[3]))\n"
    )
    arguments = [str(Path(__file__).parent), params.model_dump_json(), str(tmp_path)]
    died = subprocess.run([sys.executable, "-c", script, *arguments], check=False)
    assert died.returncode == -signal.SIGKILL
    asked: list[int] = []

    def annotate(items):
        asked.extend(items)
        return truth(items)

    resumed = adapt(MeanTask(), "opposite", annotate, params, folder=tmp_path)
    assert bits(resumed) == bits(whole)
    assert asked == [item for point in whole.curve for item in point.items]
    again = adapt(MeanTask(dies_in=1), "opposite", truth, params, folder=tmp_path)
    assert bits(again) == bits(whole)


def test_labels_that_are_not_there_yet_stop_a_run_that_goes_on_later(tmp_path: Path):
    params = AdaptParams(labels=4, steps=8, rounds=4)
    whole = adapt(MeanTask(), "near", truth, params)
    known = set(whole.curve[1].items)

    def annotate(items):
        if not known.issuperset(items):
            raise InputError("Label more.")
        return truth(items)

    with pytest.raises(InputError, match="Label more"):
        adapt(MeanTask(), "near", annotate, params, folder=tmp_path)
    known |= set(range(12))
    assert bits(adapt(MeanTask(), "near", annotate, params, folder=tmp_path)) == bits(whole)


def test_figures_may_be_left_to_the_end(tmp_path: Path):
    params = AdaptParams(labels=2, steps=4, rounds=2)
    found = adapt(MeanTask(), None, truth, params, folder=tmp_path, evaluate_rounds=False)
    assert [bool(point.figures) for point in found.curve] == [False, False, True]
    full = adapt(MeanTask(), None, truth, params)
    assert found.curve[-1] == full.curve[-1]


@pytest.mark.parametrize(
    ("count", "params", "words"),
    [
        (0, {}, "The pool holds no item to annotate."),
        (3, {"labels": 4}, "4 labels are more than the pool has items: it holds 3."),
        (12, {"steps": 2}, "2 gradient steps cannot be spread over 4 rounds."),
    ],
)
def test_bad_input_is_one_sentence(count, params, words):
    with pytest.raises(InputError) as error:
        adapt(MeanTask(count), "near", truth, AdaptParams(**params))
    assert str(error.value) == words


def test_sources_need_something_to_compare_with():
    with pytest.raises(InputError, match="holds one item; comparing"):
        source_distances(MeanTask(1), ["near"])
    with pytest.raises(InputError, match="no source"):
        source_distances(MeanTask(), [])
    with pytest.raises(InputError, match="named twice"):
        source_distances(MeanTask(), ["near", "near"])


def test_a_folder_of_another_run_or_a_damaged_one_is_refused(tmp_path: Path):
    params = AdaptParams(labels=2, steps=4, rounds=2)
    adapt(MeanTask(), "near", truth, params, folder=tmp_path)
    with pytest.raises(InputError, match="other data or settings"):
        adapt(MeanTask(), "far", truth, params, folder=tmp_path)
    (tmp_path / "state.safetensors").write_bytes(b"no state")
    with pytest.raises(InputError, match="is damaged"):
        adapt(MeanTask(), "near", truth, params, folder=tmp_path)


def test_an_annotator_answers_for_each_item():
    with pytest.raises(InputError, match="2 items were asked about, and 1 answered"):
        params = AdaptParams(labels=2, steps=4, rounds=1)
        adapt(MeanTask(), "near", lambda items: truth(items)[:1], params)


def test_a_report_tells_steps_of_all_rounds():
    told = []
    params = AdaptParams(labels=2, steps=5, rounds=2)
    adapt(MeanTask(), None, truth, params, report=lambda *told_of: told.append(told_of))
    assert [done for done, _, _ in told] == [1, 2, 3, 4, 5]
    assert {total for _, total, _ in told} == {5}


def test_the_curve_survives_the_file(tmp_path: Path):
    params = AdaptParams(labels=3, steps=6, rounds=3)
    found = adapt(MeanTask(), "near", truth, params, folder=tmp_path)
    again = adapt(MeanTask(), "near", truth, params, folder=tmp_path)
    assert again.curve == found.curve
    assert json.dumps([dict(p.figures) for p in again.curve])
