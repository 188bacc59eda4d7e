import pytest
import torch

from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.lattice import Boxes
from napari_neurobridge.simulation.optics.texture import Texture, noise_along

CPU = torch.device("cpu")
EVERYTHING = (slice(None), slice(None), slice(None))
GRAINS = ((2.5, 2.5, 2.5), (10.0, 10.0, 10.0))


def texture(starts, shape, step=(1.25, 1.25, 1.25), grains=GRAINS) -> torch.Tensor:
    boxes = Boxes.of(starts, shape)
    return Texture(Key.of(4), boxes, step, grains, device=CPU).sample(EVERYTHING)


def test_mean_is_zero_and_variance_one_wherever_a_voxel_lies_between_nodes():
    values = texture([(0, 0, 0)], (160, 160, 160), grains=((2.5, 2.5, 2.5),))[0]
    assert values.mean() == pytest.approx(0, abs=0.02)
    for phase in ((0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1)):
        z, y, x = phase
        assert values[z::2, y::2, x::2].var() == pytest.approx(1, rel=0.03)


def test_octaves_share_the_variance():
    # 200 µm hold 8,000 coarse grains.
    values = texture([(0, 0, 0)], (160, 160, 160))
    assert values.var() == pytest.approx(1, rel=0.05)


def test_values_are_related_within_a_grain_and_not_beyond_two():
    values = texture([(0, 0, 0)], (100, 100, 100), grains=((2.5, 2.5, 2.5),))[0]

    def correlation(voxels: int) -> float:
        return float((values[voxels:] * values[:-voxels]).mean() / values.var())

    assert correlation(1) > 0.5
    assert abs(correlation(4)) < 0.02
    assert abs(correlation(64)) < 0.02  # the period of a table of old


def test_any_box_has_the_same_values_to_the_last_bit():
    whole = texture([(-3, 7, 11)], (20, 60, 70), step=(2.0, 0.65, 1.1))[0]
    part = texture([(2, 20, 31), (0, 30, 40)], (9, 25, 17), step=(2.0, 0.65, 1.1))
    assert torch.equal(part[0], whole[5:14, 13:38, 20:37])
    assert torch.equal(part[1], whole[3:12, 23:48, 29:46])


def test_noise_along_a_line_is_continuous_and_of_variance_one():
    position = torch.arange(-200_000, 200_000).double() / 100
    values = noise_along(Key.of(1), position)
    assert values.var() == pytest.approx(1, rel=0.06)
    assert values.diff().abs().max() < 0.1
    assert torch.equal(values[777:999], noise_along(Key.of(1), position[777:999]))
