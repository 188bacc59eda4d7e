"""Training further on a few painted labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from napari_neurobridge.detection.segment import SegmentedVolume
from napari_neurobridge.detection.unet import SegmenterConfig, SegmenterNet
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.volumes import Volume
from napari_neurobridge.training.loop import LoopConfig
from napari_neurobridge.training.painted_labels import (
    PaintedParams,
    PaintedPlane,
    painted_planes,
    train_on_labels,
)
from napari_neurobridge.training.segmenter_draws import DrawParams

SMALL = SegmenterConfig(width=6, halvings=2, planes=3, pixel_um=2.0, plane_um=2.0)
QUICK = PaintedParams(
    draws=DrawParams(size_px=32),
    loop=LoopConfig(steps=30, learning_rate=5e-3, warmup_steps=5, checkpoint_every=10),
)


def painted() -> tuple[Volume, np.ndarray, np.ndarray]:
    """Return a volume with bright cylinders, a few labels of it, and where cylinders are."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((120, 120))
    disc = np.zeros((120, 120), dtype=bool)
    for y, x in [(20, 20), (20, 90), (60, 50), (95, 25), (95, 95)]:
        disc |= np.hypot(rows - y, columns - x) < 10
    image = (rng.normal(100, 10, (5, 120, 120)) + 60 * disc).astype(np.float32)
    labels = np.zeros(image.shape, dtype=np.int32)
    labels[2, 6:34, 6:34] = np.where(disc[6:34, 6:34], 2, 1)
    labels[3, 56:66, 46:56] = 7
    labels[3, 40:45, :60] = 1
    return Volume([image], name="brain", voxel_size_um=(2.0, 1.0, 1.0)), labels, disc


def test_labels_come_with_their_surroundings_in_the_networks_pixels() -> None:
    volume, labels, _ = painted()
    first, second = painted_planes(volume, labels, SMALL)
    assert (first.middle, second.middle) == (1, 1)
    assert first.values.shape[0] == 3
    assert first.step == 1.0
    assert first.values.shape[1:] == first.labels[0].shape == first.labels[1].shape
    background, somata = first.labels
    # 28 × 28 pixels of 1 µm are 14 × 14 of 2 µm, each of one kind.
    assert (background | somata).sum() == 14 * 14
    assert not (background & somata).any()
    ours = first.values[first.middle]
    assert ours[somata].mean() > 140 > 120 > ours[background].mean()
    # Cell 7 is a soma as cell 2 is.
    assert second.labels[1].sum() == 25


def test_discs_that_nobody_labelled_are_found_after_training() -> None:
    volume, labels, disc = painted()
    torch.manual_seed(0)
    net = SegmenterNet(SMALL)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    learned = train_on_labels(net, painted_planes(volume, labels, SMALL), QUICK)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    seen = SegmentedVolume.prepare(volume, learned)
    told = seen.probability(seen.blocks(1000)[0])[2]
    inside = disc[::2, ::2]
    assert told[inside].mean() > told[~inside].mean() + 0.3
    assert roc_auc_score(inside.ravel(), told.ravel()) > 0.95


def test_the_statistics_of_normalisation_stay_and_all_else_is_learned() -> None:
    volume, labels, _ = painted()
    net = SegmenterNet(SMALL)
    quick = QUICK.model_copy(update={"loop": QUICK.loop.model_copy(update={"steps": 3})})
    learned = train_on_labels(net, painted_planes(volume, labels, SMALL), quick)
    before, after = net.state_dict(), learned.state_dict()
    kept = [name for name in before if "running" in name or "num_batches" in name]
    assert kept
    assert all(torch.equal(before[name], after[name]) for name in kept)
    assert not any(torch.equal(before[name], after[name]) for name in set(before) - set(kept))
    assert not learned.training


def test_what_is_not_labelled_has_no_say() -> None:
    volume, labels, _ = painted()
    (plane, *_) = painted_planes(volume, labels, SMALL)
    torch.manual_seed(0)
    net = SegmenterNet(SMALL)
    quick = QUICK.model_copy(update={"loop": QUICK.loop.model_copy(update={"steps": 2})})
    one = train_on_labels(net, [plane], quick)
    unlabelled = PaintedPlane(
        plane.values, plane.middle, plane.step, tuple(np.zeros_like(part) for part in plane.labels)
    )
    other = train_on_labels(net, [plane, unlabelled], quick)
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_training_that_was_stopped_ends_with_the_same_weights(tmp_path) -> None:
    volume, labels, _ = painted()
    planes = painted_planes(volume, labels, SMALL)
    torch.manual_seed(0)
    net = SegmenterNet(SMALL)
    quick = QUICK.model_copy(update={"loop": QUICK.loop.model_copy(update={"steps": 25})})
    whole = train_on_labels(net, planes, quick)

    def stop(done: int, total: int, text: str) -> None:
        raise KeyboardInterrupt

    early = quick.model_copy(update={"loop": quick.loop.model_copy(update={"report_every": 12})})
    with pytest.raises(KeyboardInterrupt):
        train_on_labels(net, planes, early, checkpoint=tmp_path / "c", report=stop)
    again = train_on_labels(net, planes, early, checkpoint=tmp_path / "c")
    for ours, theirs in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("kind", "only"), [("background", 2), ("somata", 1)])
def test_labels_of_one_kind_are_refused(kind: str, only: int) -> None:
    volume, labels, _ = painted()
    with pytest.raises(InputError, match=f"No {kind} is painted in brain"):
        painted_planes(volume, np.where(labels > 0, only, 0), SMALL)


def test_labels_of_another_shape_or_type_are_refused() -> None:
    volume, labels, _ = painted()
    for wrong in (labels[:, :-1], labels.astype(float)):
        with pytest.raises(InputError, match="Labels of brain must be whole numbers of shape"):
            painted_planes(volume, wrong, SMALL)
