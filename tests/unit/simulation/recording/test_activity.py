import math

import pytest
import torch
from pydantic import ValidationError

from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.recording.activity import (
    ActivityParams,
    indicator,
    mean_rates,
    neuropil_fluctuation,
    simulate_activity,
)

PLAIN = ActivityParams(modulation=0, burst_spikes=1, rate_sigma=0, rate_hz=2)


def cells(count):
    return torch.arange(count)


@pytest.mark.parametrize(("rise_s", "decay_s"), [(0.07, 0.8), (0.02, 0.2)])
def test_one_spike_peaks_and_decays_as_stated(rise_s, decay_s):
    params = ActivityParams(rise_s=rise_s, decay_s=decay_s, saturation=1e6)
    step_s = 1e-3
    spikes = torch.zeros(3000, 1)
    spikes[100] = 1
    answer = indicator(spikes, torch.tensor([0.3]), step_s, params)[:, 0]
    assert not answer[:101].any()
    peak = int(answer.argmax())
    assert answer[peak] == pytest.approx(0.3, rel=1e-3)
    assert (peak - 100) * step_s == pytest.approx(rise_s * math.log1p(decay_s / rise_s), abs=2e-3)
    late = 100 + round(1.5 * decay_s / step_s)
    fall = answer[late + round(decay_s / step_s)] / answer[late]
    assert fall == pytest.approx(math.exp(-1), rel=0.01)


def test_the_indicator_saturates_mildly():
    params = ActivityParams(saturation=5)
    spikes = torch.zeros(200, 3)
    spikes[0] = torch.tensor([1.0, 10.0, 10_000.0])
    one, ten, many = indicator(spikes, torch.full((3,), 0.25), 1 / 60, params).amax(dim=0).tolist()
    assert 0.23 < one < 0.25
    assert 6 < ten / one < 9
    assert 4.9 < many < 5


def test_spike_counts_are_poisson_at_the_stated_rate():
    activity = simulate_activity(cells(2000), 600, 15.0, PLAIN, Key.of(1))
    count = activity.spikes.sum(dim=1).double()
    expected = 2 * 600 / 15
    assert count.mean() == pytest.approx(expected, rel=0.01)
    assert count.var() == pytest.approx(expected, rel=0.1)


def test_bursts_spread_the_counts_and_keep_the_rate():
    params = PLAIN.model_copy(update={"burst_spikes": 2.5})
    count = simulate_activity(cells(3000), 600, 15.0, params, Key.of(2)).spikes.sum(dim=1).double()
    assert count.mean() == pytest.approx(80, rel=0.02)
    # E[B²] / E[B] of a geometric B of mean b is 2 b - 1.
    assert count.var() / count.mean() == pytest.approx(4, rel=0.1)


def test_counts_follow_the_rates_of_a_modulated_population():
    params = ActivityParams()
    activity = simulate_activity(cells(400), 4000, 15.0, params, Key.of(3))
    count = activity.spikes.sum(dim=1).double()
    expected = activity.rate_hz.double() * 4000 / 15
    assert count.sum() == pytest.approx(expected.sum().item(), rel=0.08)
    logs = torch.stack([count.add(1).log(), expected.add(1).log()])
    assert torch.corrcoef(logs)[0, 1] > 0.95


def test_rates_are_log_normal_over_cells():
    params = ActivityParams()
    rates = mean_rates(cells(20_000), params, Key.of(4)).log()
    assert rates.median().exp() == pytest.approx(0.4, rel=0.03)
    assert rates.std() == pytest.approx(0.9, rel=0.03)


def test_silent_cells_never_fire_and_active_only_cells_rarely():
    third = cells(900) % 3
    rates = {"spiking": third != 0, "active_only": third == 1}
    activity = simulate_activity(cells(900), 900, 15.0, ActivityParams(), Key.of(5), **rates)
    assert not activity.spikes[third == 0].any()
    assert not activity.calcium[third == 0].any()
    rare, usual = (activity.spikes[third == kind].double().mean() for kind in (1, 2))
    assert rare / usual == pytest.approx(0.4, rel=0.25)


@pytest.mark.parametrize(("coupling", "low", "high"), [(0.0, -0.02, 0.02), (1.0, 0.2, 0.9)])
def test_coupling_makes_cells_fire_together(coupling, low, high):
    params = ActivityParams(coupling=coupling, rate_sigma=0, rate_hz=3)
    spikes = simulate_activity(cells(60), 3000, 15.0, params, Key.of(6)).spikes
    bins = spikes.view(60, 200, 15).sum(dim=2).double()
    between = torch.corrcoef(bins)[~torch.eye(60, dtype=torch.bool)]
    assert low < between.mean() < high


def test_any_subset_and_any_length_give_the_same_traces():
    params, key = ActivityParams(), Key.of(7)
    whole = simulate_activity(cells(300), 200, 15.0, params, key)
    some = torch.tensor([271, 3, 40])
    part = simulate_activity(some, 77, 15.0, params, key)
    assert torch.equal(part.spikes, whole.spikes[some, :77])
    assert torch.allclose(part.calcium, whole.calcium[some, :77], atol=1e-6)
    assert not torch.equal(simulate_activity(some, 77, 15.0, params, Key.of(8)).spikes, part.spikes)


def test_a_recording_starts_in_the_middle_of_things():
    params = ActivityParams(rate_hz=3, decay_s=2)
    calcium = simulate_activity(cells(2000), 150, 15.0, params, Key.of(9)).calcium
    assert calcium[:, 0].mean() == pytest.approx(calcium[:, 100:].mean().item(), rel=0.2)


@pytest.mark.parametrize("rate_hz", [2.0, 15.0, 200.0])
def test_the_frame_rate_changes_no_rate_of_spikes(rate_hz):
    n_frames = round(60 * rate_hz)
    activity = simulate_activity(cells(200), n_frames, rate_hz, PLAIN, Key.of(10))
    assert activity.calcium.shape == (200, n_frames)
    assert activity.spikes.sum(dim=1).double().mean() == pytest.approx(120, rel=0.03)


def test_neuropil_follows_the_population():
    params, key = ActivityParams(), Key.of(11)
    neuropil = neuropil_fluctuation(20_000, 15.0, params, key)
    assert abs(neuropil.mean()) < 0.1
    assert neuropil.std() == pytest.approx(1, rel=0.1)
    population = simulate_activity(cells(300), 1000, 15.0, params, key).calcium.mean(dim=0)
    assert torch.corrcoef(torch.stack([population, neuropil[:1000]]))[0, 1] > 0.7


def test_no_cells_have_no_activity():
    activity = simulate_activity(cells(0), 10, 15.0, ActivityParams(), Key.of(0))
    assert activity.calcium.shape == activity.spikes.shape == (0, 10)


@pytest.mark.parametrize("wrong", [{"decay_s": 0}, {"burst_spikes": 0.5}, {"coupling": 2}])
def test_senseless_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        ActivityParams(**wrong)
