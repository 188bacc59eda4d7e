"""The text of the card of the segmenter of somata."""

from __future__ import annotations

CARD = """\
# {c.name}

Says which pixels belong to somata, in planes and stacks of either microscope, at {c.pixel_um:g} µm
per pixel: a two-dimensional U-Net (Ronneberger et al., MICCAI 2015) that sees {c.planes} planes of
{c.plane_um:g} µm at once and judges the middle one; a single plane is repeated. A seeded watershed
makes somata of its probabilities. {parameters:,} parameters, float16. Weights {hash}. Licence:
BSD-3-Clause, as this project.

Dropout of {c.dropout:g} is in its deeper half, so that several passes tell how sure it is.

## Data

Simulated scenes of {t.size_um[0]:g} × {t.size_um[1]:g} × {t.size_um[2]:g} µm under both
microscopes, with the voxels of every soma that the label shows
(`training/segmented_scenes.py`), from which windows are drawn anew in every step
(`training/segmenter_draws.py`):

{scenes}

- windows of {d.size_px} pixels, {d.two_photon:.0%} of the two-photon side, turned by any angle,
  pixels {d.scale[0]:g} to {d.scale[1]:g} times as large
- {d.single:.0%} are single planes, projected over up to {d.two_photon_planes} planes (fMOST:
  {d.fmost_planes}); of the others, planes are up to {d.skip} steps of 2 µm apart
- contrast, shading, blur and noise at random

No real image was used.

## Training

    {command}

{loop.steps} steps of {t.batch} windows; {loop.optimizer}, learning rate {loop.learning_rate:g} with
{loop.schedule} schedule, weight decay {loop.weight_decay:g}, seed {loop.seed}; cross-entropy and
half of the soft Dice loss. Last run: {minutes:.0f} min on {machine}; napari-neurobridge {version},
torch {torch}, {date}. The data and all random numbers are fixed by the seeds; floating point
results differ slightly between processors.

## Watershed

Fixed on the scenes of the next section: the most two-photon somata by F1, then the least variation
of information. Smoothing {w.smooth_px:g} pixels, seeds from {w.seed:g}, somata from {w.inside:g},
seeds {w.distance_px} pixels apart at least, somata of a radius of {w.radius_px:g} pixels at least.

## Figures

{t.validation.count} scenes that were not trained on, but that the watershed was fixed on (level
`{t.validation.level}`, seeds from {t.validation.first_seed}). Somata within 5 µm of a true one are
right. Variation of information in bits, background being a segment.

| side | somata | precision | recall | F1 | split | merge |
|---|---|---|---|---|---|---|
{rows}

## Limits

Trained on simulated neurons only. Somata of 8 to 25 µm are found.
"""
