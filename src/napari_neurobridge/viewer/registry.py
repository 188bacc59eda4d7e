"""One workbench for each viewer, however many docks it has."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from napari_neurobridge.viewer.binding import ViewerBinding

if TYPE_CHECKING:
    import napari

_bindings: WeakKeyDictionary[napari.Viewer, ViewerBinding] = WeakKeyDictionary()


def binding_for(viewer: napari.Viewer) -> ViewerBinding:
    """Return the binding of a viewer, made at the first call.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer or one of the proxies that napari hands to each dock; all proxies of
        one viewer lead to the same binding.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)
    binding = _bindings.get(viewer)
    if binding is None or binding.closed:
        binding = _bindings[viewer] = ViewerBinding(viewer)
    return binding
