import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.current import bundled_verifier
from napari_neurobridge.registration.gccm import Gccm, load_gccm
from napari_neurobridge.registration.subsets import SubsetConfig
from napari_neurobridge.registration.verify import verify


@pytest.fixture(scope="module", params=[2, 3])
def gccm(request: pytest.FixtureRequest) -> Gccm:
    return load_gccm(bundled_verifier(request.param))


def waves(dims: int, wrong: int, count: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matches of smoothly deformed tissue far from the origin, the first of them mistakes."""
    rng = np.random.default_rng(0)
    source = rng.uniform(0, 400, (count, dims)) + 5000
    target = source + 8 * np.sin(source[:, ::-1] / 60) + rng.normal(0, 0.8, source.shape)
    target[:wrong] = rng.uniform(5000, 5400, (wrong, dims))
    return source, target, np.arange(count) >= wrong


def test_mistakes_are_left_out_and_counted(gccm: Gccm) -> None:
    source, target, right = waves(gccm.config.position_dim, 120)
    found = verify(source, target, gccm=gccm, threshold="adaptive")
    assert (found.kept & right).sum() > 0.9 * right.sum()
    assert (found.kept & ~right).sum() < 0.1 * found.kept.sum()
    assert found.inlier_ratio == pytest.approx(0.6, abs=0.15)
    assert np.array_equal(found.kept, found.confidence > found.threshold)
    assert np.array_equal(found.kept, found.probability > 0.5)
    again = verify(source, target, gccm=gccm)
    assert again.threshold == gccm.config.tau
    assert np.array_equal(found.confidence, again.confidence)


def test_the_threshold_can_be_fixed_or_chosen(gccm: Gccm) -> None:
    source, target, _ = waves(gccm.config.position_dim, 120)
    assert verify(source, target, gccm=gccm, threshold=0.3).threshold == 0.3
    assert not verify(source, target, gccm=gccm, threshold=1.0).kept.any()
    assert verify(source, target, gccm=gccm, threshold=-0.1).kept.all()


def test_subsets_and_seed_count(gccm: Gccm) -> None:
    source, target, _ = waves(gccm.config.position_dim, 120)
    first = verify(source, target, gccm=gccm).confidence
    assert not np.array_equal(first, verify(source, target, gccm=gccm, seed=1).confidence)
    few = SubsetConfig(count=1, per_match=1)
    assert not np.array_equal(first, verify(source, target, gccm=gccm, subsets=few).confidence)


def test_nonsense_is_refused(gccm: Gccm) -> None:
    source, target, _ = waves(gccm.config.position_dim, 120)
    with pytest.raises(InputError, match="'adaptive', 'fixed' or a number"):
        verify(source, target, gccm=gccm, threshold="loose")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not a finite number"):
        verify(source, target, gccm=gccm, threshold=float("nan"))
    with pytest.raises(InputError, match="at least 4 matches, and there are 3"):
        verify(source[:3], target[:3], gccm=gccm)
