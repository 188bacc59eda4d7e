"""The text of the card of the published matcher of two planes."""

from __future__ import annotations

CARD = """\
# {c.name}

Matches a two-photon plane with an fMOST slab by what their keypoints look like, as the paper on
semantic matching does: local descriptors (`features-2d`) and features of the encoder's
transformer are fused, LightGlue ({c.layers} layers of {c.dim}) proposes matches, and a geometric
consistency module that was trained with it says which of them can be. {parameters:,} parameters,
float16. Weights {hash}. Licence: BSD-3-Clause, as this project.

## Data

Simulated scenes of {t.size_um[0]:g} × {t.size_um[1]:g} × {t.size_um[2]:g} µm under both microscopes
(`training/scene_volumes.py`). Stage 1:

{scenes}

{one.pairs} pairs of images of {one.images.size_um} µm that show one volume twice, the second time
bent. Stage 2: {both.pairs} pairs of both microscopes from {both.scenes[0].count} scenes of level
`{both.scenes[0].level}`, seeds from {both.scenes[0].first_seed}, which no other network was trained
on; projection thickness, depth and rotation differ. Each task is some of the keypoints of a pair,
bent anew by a thin plate. What finds and describes keypoints is not trained. No real image was
used.

## Training

    {command}

Stage 1: {tasks:,} tasks, fusion and LightGlue. Stage 2: {joint_tasks:,} tasks, both and the
consistency module, which starts from `gccm-2d`. In {t.no_semantic:.0%} of the tasks semantic
features are 0. {loop.optimizer}, learning rate {loop.learning_rate:g} and {joint.learning_rate:g}
with {loop.schedule} schedule, weight decay {loop.weight_decay:g}, seed {loop.seed}. Last run:
{minutes:.0f} min on {machine}; napari-neurobridge {version}, torch {torch}, {date}.

## Figures

{tests.pairs} pairs of both microscopes from scenes that were not trained on (level
`{tests.scenes[0].level}`, seeds from {tests.scenes[0].first_seed}), rotated by up to
{tests.images.angle_deg:g}°; right is within 5 µm; recall is of the keypoints that have a partner.

| variant | matches | right | precision | recall |
|---|---|---|---|---|
{rows}

Rows without semantic features are of the same weights with these features at 0.

## Limits

Trained on simulated neurons only, for images that lie alike to about ±35°.
"""
