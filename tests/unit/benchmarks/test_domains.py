import numpy as np
import pytest

from napari_neurobridge.active.domain import half_split_mmd2, mmd2
from napari_neurobridge.benchmarks import domains
from napari_neurobridge.benchmarks.domains import DomainsParameters as asked
from napari_neurobridge.benchmarks.domains import benchmark_domains
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.models.fingerprint import median_distance


class Trunk:
    """Stands in for an encoder: mean and contrast of the quarters of a crop."""

    name, hash = "quarters", "0" * 12

    def trunk_features(self, crops):
        n, height, width = crops.shape
        quarters = crops.reshape(n, 2, height // 2, 2, width // 2)
        return np.concatenate(
            [getattr(quarters, f)(axis=(2, 4)).reshape(n, 4) for f in ("mean", "std")], axis=1
        )


@pytest.fixture
def toy_domains(monkeypatch):
    """Domains `dull-…` and `bright`, which differ in the mean of their pixels."""

    def pairs(count, *, seed, level):
        rng = np.random.default_rng([seed, len(level)])
        sides = rng.random((2, count, 20, 20), dtype=np.float32) ** (
            0.4 if level == "bright" else 1
        )
        return PairSet(sides[0], sides[1], np.zeros(count, dtype=np.int64))

    monkeypatch.setattr(domains, "simulate_pairs", pairs)


def test_the_table_is_that_of_the_features_of_both_sides(toy_domains):
    names = ("dull-1", "bright", "dull-one")
    said = []
    result = benchmark_domains(
        Trunk(), asked(pairs=40, seed=3), names=names, report=lambda *what: said.append(what)
    )
    assert result.model == "quarters 000000000000"
    assert (result.domains, result.pairs) == (names, 40)
    assert said == [(i, 3, f"simulating {name}") for i, name in enumerate(names)]
    features = [domains._features(Trunk(), name, 40, 3) for name in names]
    assert features[0].shape == (40, 16)
    np.testing.assert_allclose(np.linalg.norm(features[0], axis=1), np.sqrt(2), rtol=1e-5)
    bandwidth = median_distance(*features)
    for i, first in enumerate(features):
        for j, second in enumerate(features):
            expected = 0 if i == j else mmd2(first, second, bandwidth=bandwidth)
            assert result.mmd2[i][j] == pytest.approx(expected)
    chance = half_split_mmd2(
        features[0], bandwidth=bandwidth, splits=100, rng=np.random.default_rng(3)
    )
    assert result.within[0] == pytest.approx(np.percentile(np.abs(chance), 95))


def test_the_ratio_is_large_only_where_every_two_domains_differ(toy_domains):
    apart = benchmark_domains(Trunk(), asked(pairs=60), names=("dull-1", "bright"))
    alike = benchmark_domains(Trunk(), asked(pairs=60), names=("dull-1", "bright", "dull-one"))
    assert apart.smallest_ratio == apart.mmd2[0][1] / max(apart.within)
    assert apart.smallest_ratio > 5
    assert alike.smallest_ratio < 3


def test_the_result_can_be_stored(toy_domains):
    result = benchmark_domains(Trunk(), asked(pairs=10), names=("dull-1", "bright"))
    assert domains.DomainsBenchmark.model_validate_json(result.model_dump_json()) == result


def test_the_figure_is_drawn_where_asked(toy_domains, tmp_path):
    path = tmp_path / "domains.svg"
    result = benchmark_domains(
        Trunk(), asked(pairs=10, figure=path), names=("dull-1", "bright", "dull-one")
    )
    assert result.figure == str(path)
    assert result.summary().splitlines()[-1] == str(path)
    assert path.read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.parametrize("names", [(), ("domain-A",)])
def test_fewer_than_two_domains_are_refused(names):
    with pytest.raises(InputError, match="at least two domains"):
        benchmark_domains(Trunk(), names=names)


def test_an_unknown_domain_is_refused():
    with pytest.raises(InputError, match="no simulation level 'domain-Z'"):
        benchmark_domains(Trunk(), names=("domain-Z", "domain-A"))
