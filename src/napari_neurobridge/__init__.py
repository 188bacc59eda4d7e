"""Find the same neuron in two microscopes.

>>> import napari_neurobridge as nb
>>> project = nb.open("mouse17.neurobridge")  # doctest: +SKIP
>>> project.rank("tp-00042")  # doctest: +SKIP

Importing this package is cheap on purpose: neither torch nor Qt nor pandas is loaded until a
function that needs them is called.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it, without loading that
if TYPE_CHECKING:
    from typing import Any

    from napari_neurobridge.api.functions import (
        create,
        load_encoder,
        match_points,
        open,
        register_images,
        simulate,
        view,
    )

__version__ = "0.1.0"

__all__ = [
    "create", "load_encoder", "match_points", "open", "register_images", "simulate", "view",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("napari_neurobridge.api.functions"), name)


def __dir__() -> list[str]:
    """Return the public names, also those that are not loaded yet."""
    return [*__all__, "__version__"]
