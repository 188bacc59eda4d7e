"""The text of the constellation matcher's card."""

from __future__ import annotations

CARD = """\
# {c.name}

A matcher of two sets of somata by their coordinates. Each soma is described by the offsets of its
{c.neighbours} nearest neighbours (through a small network), by its place in the window and by up to
{c.code} components of its embedding; LightGlue ({c.layers} layers of {c.heads} heads, width
{c.dim}) with positions in space matches them. {parameters:.2f} million parameters, stored as
float16. Weights {hash}. Licence: BSD-3-Clause, as this project.

## Data

Simulated coordinates only (`simulation/point_fields.py`), drawn anew in every step:

- {f.density_per_mm3[0]:,.0f} to {f.density_per_mm3[1]:,.0f} somata per mm³
- rotation of up to {f.angle_deg:g}° about any axis; scale of each axis
  {f.scale[0]:g} to {f.scale[1]:g}
- smooth displacement of up to {f.nonrigid_um[1]:g} µm rms in each component
- noise of {f.noise_um[0]:g} to {f.noise_um[1]:g} µm in each component, between the two sides
- up to {f.missing[1]:.0%} of the cells missing and {f.false[1]:.0%} invented, on either side
- windows shifted by up to {f.shift:.0%} of half their width; {f.unrelated:.0%} of the
  fields unrelated
- in {t.embedded:.0%} of the fields, random codes that partners share more or less, as embeddings

No real data was used.

## Training

    {command}

{loop.steps} steps of {t.batch} fields of {t.queries[0]} to {t.queries[1]} somata, and galleries
up to {t.surplus[1]:g} times as large; {loop.optimizer}, learning rate {loop.learning_rate:g} with
{loop.schedule} schedule, weight decay {loop.weight_decay}, seed {loop.seed}. Fields begin at
{t.first_share:.0%} of the difficulty and reach all of it after {t.full_at:.0%} of the steps. The
loss is the negative log likelihood of the assignment, averaged over all layers.
Last run of the training: {minutes:.0f} min on {machine}; napari-neurobridge {version},
torch {torch}, {date}. The data and all random numbers are fixed by the seeds; floating
point results differ slightly between processors.

## Figures of the bare network

{count} test fields, a window against a window, once: without the search and the propagation that
follow in use (`neurobridge benchmark constellation` measures the whole).

| fields | precision | recall | top-1 | top-8 |
|---|---|---|---|---|
{rows}

Precision and recall are of the pairs that both sides choose; top-k of all matchable somata.

## Limits

Not yet validated on a public real pair of two-photon and fMOST data. It wants a rough orientation,
right to about 30° and of the right handedness, and volumes of similar density that overlap: a
single plane, or a slab of one or two cells in depth, is hardly ever found. Alone it is often
wrong: use `matching.constellation.match_constellation`, which checks it against the
field and says when it does not know.
"""
