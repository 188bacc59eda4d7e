"""The text of the feature network's card."""

from __future__ import annotations

CARD = """\
# {c.name}

Finds the middles of somata and describes places in images of neurons, at 1 µm per pixel: a
convolutional network with a head that detects and a head that describes, after SuperPoint.
{parameters:,} parameters, float16. Weights {hash}. Licence: BSD-3-Clause, as this project.

Registration of two images uses the somata; descriptors of {c.dim} components, one for each
4 × 4 pixels, come with them.

## Data

Simulated scenes of {t.size_um[0]:g} × {t.size_um[1]:g} × {t.size_um[2]:g} µm under both microscopes
(`training/scene_volumes.py`), from which images are drawn anew in every step
(`training/image_tasks.py`):

{scenes}

- images of {p.size_um} µm, middles up to {p.shift_um:g} µm apart
- rotation of up to {p.angle_deg:g}° beyond the scene's own misfit, scale {p.scale[0]:g} to
  {p.scale[1]:g}
- two-photon planes of {p.two_photon_um[0]:g} to {p.two_photon_um[1]:g} µm, fMOST slabs of
  {p.fmost_um[0]:g} to {p.fmost_um[1]:g} µm up to {p.depth_error_um:g} µm off in depth
- {p.same_side:.0%} show one volume twice, the second time bent by a thin plate
- contrast, shading, blur and noise at random

No real image was used.

## Training

    {command}

{loop.steps} steps of {t.batch} pairs; {loop.optimizer}, learning rate {loop.learning_rate:g} with
{loop.schedule} schedule, weight decay {loop.weight_decay:g}, seed {loop.seed}. The loss is that of
`training/feature_loss.py`. Last run: {minutes:.0f} min on {machine}; napari-neurobridge {version},
torch {torch}, {date}. The data and all random numbers are fixed by the seeds; floating
point results differ slightly between processors.

## Figures

{count} pairs of scenes that were not trained on (level `paper`). Somata within 5 µm of a true
one that the image's slab holds are right; many of those are too dim to be seen, hence the recall.
Descriptors: share of the source's places whose likeliest node in the other modality's
image is within 5 µm of the true partner.

| probability above | two-photon: precision, recall | fMOST: precision, recall |
|---|---|---|
{rows}

Descriptors: {dense:.3f}.

## Limits

Trained on simulated neurons only. Images must have pixels of known size; somata of
8 to 25 µm are found.
"""
