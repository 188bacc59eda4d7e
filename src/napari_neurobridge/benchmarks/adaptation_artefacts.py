"""Whether uncertainty finds artefacts: stripes, wrong contrast and black tiles, put in on purpose.

NeuroADDA, section 4.2, where a person tagged images; here what is wrong is known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.stats import mannwhitneyu

from napari_neurobridge.active.segmentation import tile_uncertainty

if TYPE_CHECKING:
    from napari_neurobridge.active.segmentation import SegmentationParams
    from napari_neurobridge.active.tiles import Tiles
    from napari_neurobridge.detection.unet import SegmenterNet
    from napari_neurobridge.types import Float32Array, FloatArray

Kind: TypeAlias = Literal["stripes", "contrast", "black"]
KINDS: tuple[Kind, ...] = ("stripes", "contrast", "black")
Severity: TypeAlias = Literal["minor", "major"]
SEVERITIES: tuple[Severity, ...] = ("minor", "major")
# Share of the tile that bright stripes or black squares cover.
_SHARE = {"minor": 0.05, "major": 0.3}
# Range of grey values that is left.
_CONTRAST = {"minor": 0.5, "major": 0.1}
_NOISE = 0.05


class ArtefactTest(BaseModel):
    """Uncertainty of tiles with an artefact against that of clean ones."""

    model_config = ConfigDict(frozen=True)

    target: str
    source: str
    kind: str = Field(description="stripes, contrast, black, or all.")
    severity: str
    n: int = Field(description="Spoilt tiles.")
    n_clean: int = Field(description="Others, that are clean.")
    u: float = Field(description="Of Mann and Whitney; large where artefacts are less certain.")
    p: float = Field(description="One-sided.")
    auc: float = Field(description="Chance that a spoilt tile is less certain than a clean one.")


def spoilt(
    image: Float32Array, kind: Kind, severity: Severity, rng: np.random.Generator
) -> Float32Array:
    """Return an image (H, W) with an artefact.

    Stripes are bright columns or rows through the whole image; a contrast error squeezes grey
    values about their mean, so that the noise of the detector counts for more; black squares
    hold nothing.
    """
    low, high = (float(v) for v in np.percentile(image, (1, 99)))
    out = image.copy()
    if kind == "contrast":
        squeezed = image.mean() + _CONTRAST[severity] * (image - image.mean())
        noise = _NOISE * (high - low) * rng.standard_normal(image.shape)
        return np.asarray(squeezed + noise, dtype=np.float32)
    share = _SHARE[severity]
    if kind == "stripes":
        across = out if rng.random() < 0.5 else out.T
        count = max(1, round(share * len(across) / 4))
        for start in rng.integers(0, len(across) - 3, count).tolist():
            across[start : start + 4] = high + 0.5 * (high - low)
        return out
    side = round(float(np.sqrt(share * image.size)))
    side = min(side, *image.shape)
    y, x = (int(rng.integers(0, length - side + 1)) for length in image.shape)
    out[y : y + side, x : x + side] = low - 0.2 * (high - low)
    return out


def artefact_tests(
    net: SegmenterNet,
    tiles: Tiles,
    params: SegmentationParams,
    *,
    target: str,
    source: str,
    most: int,
    seed: int = 0,
) -> list[ArtefactTest]:
    """Compare spoilt tiles with clean ones, each kind and severity, and all kinds together.

    Half of the tiles stay clean, and the other half is spoilt: no tile is compared with itself.

    Parameters
    ----------
    net : SegmenterNet
        Of the source, not adapted.
    tiles : Tiles
        Of the target.
    params : SegmentationParams
    target, source : str
    most : int
        Tiles of the pool that are drawn.
    seed : int
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(tiles.pool))[:most].tolist()
    images = np.stack([tiles.image(tiles.pool[row]) for row in rows])
    clean_images, others = np.array_split(images, 2)
    clean = _uncertainty(net, tiles, clean_images, params, seed)
    found = []
    for severity in SEVERITIES:
        told: dict[str, FloatArray] = {}
        for kind in KINDS:
            bad = np.stack([spoilt(image, kind, severity, rng) for image in others])
            told[kind] = _uncertainty(net, tiles, bad, params, seed)
        groups = {**told, "all": np.concatenate(list(told.values()))}
        for name, values in groups.items():
            u, p = mannwhitneyu(values, clean, alternative="greater")
            found.append(
                ArtefactTest(
                    target=target,
                    source=source,
                    kind=name,
                    severity=severity,
                    n=len(values),
                    n_clean=len(clean),
                    u=float(u),
                    p=float(p),
                    auc=float(u) / (len(values) * len(clean)),
                )
            )
    return found


def _uncertainty(
    net: SegmenterNet,
    tiles: Tiles,
    images: Float32Array,
    params: SegmentationParams,
    seed: int,
) -> FloatArray:
    corners = tuple((row, 0, 0) for row in range(len(images)))
    return tile_uncertainty(net, replace(tiles, sections=images), corners, params, seed=seed)
