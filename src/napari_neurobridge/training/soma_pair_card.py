"""The text of the card of the network that judges pairs of somata."""

from __future__ import annotations

CARD = """\
# {c.name}

Says how much likelier two crops show one soma than two. They are laid on each other by a map that
is to be tested, have {c.crop_px} × {c.crop_px} pixels of {c.pixel_um:g} µm, and are the two
channels of one image for a convolutional network (Zagoruyko and Komodakis, CVPR 2015).
{parameters:,} parameters, float16. Weights {hash}. Licence: BSD-3-Clause, as this project.

Registration of two images adds what it says of a map's pairs to the evidence of their pattern.

## Data

Simulated scenes of {t.size_um[0]:g} × {t.size_um[1]:g} × {t.size_um[2]:g} µm under both microscopes
(`training/scene_volumes.py`):

{scenes}

{t.image_pairs} pairs of images of {p.size_um} µm are drawn from them, turned by any angle, scale
{p.scale[0]:g} to {p.scale[1]:g}; {p.same_side:.0%} show one volume twice. Somata are those that
`features-2d` finds above {s.least_probability:g}. Right pairs lie within 5 µm of the truth; wrong
ones are what the {s.maps} best maps of a search of the pattern bring together by chance
(`training/soma_pair_sets.py`). {right:,} right and {wrong:,} wrong pairs. No real image was used.

## Training

    {command}

{loop.steps} steps of {t.batch} pairs, half of them right; {loop.optimizer}, learning rate
{loop.learning_rate:g} with {loop.schedule} schedule, weight decay {loop.weight_decay:g}, seed
{loop.seed}. Crops are shifted by up to 1 pixel against each other, turned by quarters and mirrored
together, with either microscope as the source, and contrast and noise at random. Last run:
{minutes:.0f} min on {machine}; napari-neurobridge {version}, torch {torch}, {date}.

## Figures

{n_tests:,} pairs of somata from {t.test_pairs} pairs of images of scenes that were not trained on
(level `{t.tests.level}`, seeds from {t.tests.first_seed}): area under the ROC curve {auc:.3f}. At
log ratio 0, {found:.0%} of the right pairs are taken and {taken:.0%} of the wrong ones.

## Limits

Trained on simulated neurons only. A high ratio of a single pair proves little: what else two
crops have in common, such as a neighbour, counts as much as the soma itself.
"""
