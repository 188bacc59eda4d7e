"""How bright a crop is shown, in every dock, window and figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_neurobridge.types import Float32Array


def brightness(crops: npt.ArrayLike) -> Float32Array:
    """Return crops with values in [0, 1] as they are to be shown, of the same shape.

    A square root lifts dim dendrites, which share the crop with a bright soma.
    """
    return np.sqrt(np.clip(np.asarray(crops, dtype=np.float32), 0, 1))


def grey_levels(crops: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Return the `brightness` of crops as grey levels from 0 to 255."""
    return (brightness(crops) * 255).astype(np.uint8)
