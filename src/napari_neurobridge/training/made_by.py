"""What a model's card says of the run that made it."""

from __future__ import annotations

import platform
from datetime import UTC, datetime

import torch

from napari_neurobridge import __version__


def made_by() -> dict[str, str]:
    """Return machine, versions and date of now, by the names that the cards' texts give them."""
    return {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "version": __version__,
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }
