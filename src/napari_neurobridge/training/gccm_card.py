"""The text of the geometric consistency module's card."""

from __future__ import annotations

CARD = """\
# {c.name}

Says how plausible matches are as a geometry, from their coordinates alone ({c.position_dim}
dimensions): subsets of {c.subsets.size} matches judge one of them each, and a match has the mean
of its subsets' scores (after the paper on semantic matching, section II.C, equation 2). The affine
map that most matches share is taken off; lengths and vectors between the matches of a
subset, their triangles on both sides, and how far they depart from smooth maps that most matches
share, in units of {c.unit_um:g} µm, go through two layers of width {c.hidden}.
{parameters:,} parameters, float32. Weights {hash}. Licence: BSD-3-Clause, as this project.

Subsets in use: at most {c.subsets.count:,} in all, but {c.subsets.per_match} for each match;
companions are likely right ones, in {c.subsets.local:.0%} of the subsets from cells of about
{c.subsets.neighbourhood} neighbours, in the others from anywhere.

## Data

Drawn coordinates only (`training/match_sets.py`), anew in every step:

- fields of {s.size_um[0]:g} to {s.size_um[1]:g} µm, {t.matches[0]} to {t.matches[1]} matches
- rotation of up to {s.angle_deg:g}°, scale {s.scale[0]:g} to {s.scale[1]:g}
- thin-plate displacement of {s.displacement_um[0]:g} to {s.displacement_um[1]:g} µm rms, control
  points {s.length_um[0]:g} to {s.length_um[1]:g} µm apart (at most a fifth of that in size)
- localisation errors of {s.noise_um[0]:g} to {s.noise_um[1]:g} µm in each component
- {s.wrong[0]:.0%} to {s.wrong[1]:.0%} mistakes: anywhere in the field, at a neighbour's place or
  off by {s.near_um[0]:g} to {s.near_um[1]:g} µm, or in patches that are shifted as one
- a match is right within {s.right_within_um:g} µm of the truth

No image and no real data was used.

## Training

    {command}

{loop.steps} steps of {t.batch} sets, {t.subsets_per_match} subsets for each match;
{loop.optimizer}, learning rate {loop.learning_rate:g} with {loop.schedule} schedule, weight decay
{loop.weight_decay:g}, seed {loop.seed}. The loss is the binary cross entropy of a match's mean
score with whether the match is right. Last run: {minutes:.0f} min on {machine}; napari-neurobridge
{version}, torch {torch}, {date}. The data and all random numbers are fixed by the seeds; floating
point results differ slightly between processors.

## Figures

{count} sets of the same kind for each row, not trained on. `neurobridge benchmark verification`
measures other deformations, beside rivals. Precision and recall at the fixed threshold
{c.tau:.3f}, and at that of the estimated share of right matches.

| right | estimated from the scores | AUC | fixed | adaptive |
|---|---|---|---|---|
{rows}

## Limits

Never seen real matches. Both sides may be turned and moved at will, but must be in µm, of one
handedness, and of scales that differ by no more than was drawn. A patch of mistakes that agree
with each other looks right to the subsets within it; only those that reach beyond it tell.
"""
