import pytest
import torch

from napari_neurobridge.training.augmentation import AugmentConfig, augment_pairs

OFF = AugmentConfig(
    rotation_deg=0,
    shift_px=0,
    scale=0,
    gamma=0,
    brightness=0,
    noise=0,
    dropout_probability=0,
)


def blob(batch=8, pixels=41):
    """A bright spot away from the centre, in a dim gradient."""
    rows, columns = torch.meshgrid(
        torch.arange(pixels).float(), torch.arange(pixels).float(), indexing="ij"
    )
    image = torch.exp(-((rows - 12) ** 2 + (columns - 25) ** 2) / 18)
    return (0.05 + 0.9 * image).expand(batch, 1, pixels, pixels).clone()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_without_strength_only_symmetries_of_the_square_remain_the_same_for_both():
    crops = blob(batch=40)
    a, b = augment_pairs(crops, crops, OFF, generator())
    torch.testing.assert_close(a, b)
    quarter_turns = [torch.rot90(crops[0], k, (1, 2)) for k in range(4)]
    symmetries = quarter_turns + [turn.flip(2) for turn in quarter_turns]
    seen = set()
    for crop in a:
        errors = [float((crop - symmetry).abs().max()) for symmetry in symmetries]
        assert min(errors) < 1e-3
        seen.add(errors.index(min(errors)))
    assert len(seen) == 8


def test_sides_are_changed_apart_and_stay_in_range():
    crops = blob()
    a, b = augment_pairs(crops, crops, AugmentConfig(), generator())
    assert a.shape == crops.shape
    assert not torch.allclose(a, b)
    assert min(a.min(), b.min()) >= 0
    assert max(a.max(), b.max()) <= 1


def test_the_same_generator_gives_the_same_views():
    crops = blob()
    first = augment_pairs(crops, crops, AugmentConfig(), generator(3))
    again = augment_pairs(crops, crops, AugmentConfig(), generator(3))
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))


def test_shift_is_bounded_in_pixels():
    config = OFF.model_copy(update={"shift_px": 3.0})
    crops = blob(batch=60)
    a, b = augment_pairs(crops, crops, config, generator())
    peaks = [
        torch.stack(torch.unravel_index(x[:, 0].flatten(1).argmax(1), (41, 41))) for x in (a, b)
    ]
    assert (peaks[0] - peaks[1]).abs().max() <= 7
    assert (peaks[0] - peaks[1]).abs().max() >= 2


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_context_is_lost_as_often_as_asked(probability):
    config = OFF.model_copy(update={"dropout_probability": probability, "dropout_px": 20})
    crops = torch.ones(30, 1, 41, 41)
    a, _ = augment_pairs(crops, crops, config, generator())
    lost = (a == 0).flatten(1).any(dim=1).float().mean()
    assert lost == pytest.approx(probability, abs=0.1)
