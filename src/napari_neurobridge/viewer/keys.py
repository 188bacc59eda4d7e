"""The keys that act on pairs, wherever in napari's window somebody presses them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from napari.settings import get_settings
from qtpy.QtCore import QObject
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QShortcut

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import napari
    from qtpy.QtWidgets import QWidget


class WindowKeys(QObject):
    """Keys of a window that act while they are switched on.

    A shortcut of the window comes before what a canvas does with a key, and after a text field,
    which takes its letters first: so the keys act on both canvases and in all docks, whatever
    layer is selected, and a name can still be typed. Switched off, every key is napari's again.

    Parameters
    ----------
    window : QWidget
        napari's main window.
    actions : mapping of str to callable
        What each key does; keys as Qt names them, such as ``"Shift+Z"``.
    """

    def __init__(self, window: QWidget, actions: Mapping[str, Callable[[], None]]) -> None:
        super().__init__(window)
        self.shortcuts: dict[str, QShortcut] = {}
        for key, action in actions.items():
            shortcut = QShortcut(QKeySequence(key), window)
            # A key that is held down must not judge one cell after the other.
            shortcut.setAutoRepeat(False)
            shortcut.setEnabled(False)
            shortcut.activated.connect(action)
            # Qt calls neither of two shortcuts that share a key; ours are on because we want them.
            shortcut.activatedAmbiguously.connect(action)
            self.shortcuts[key] = shortcut

    @property
    def active(self) -> bool:
        """Whether the keys act."""
        return any(shortcut.isEnabled() for shortcut in self.shortcuts.values())

    def set_active(self, active: bool) -> None:
        """Switch the keys on or off."""
        for shortcut in self.shortcuts.values():
            shortcut.setEnabled(active)

    def set_active_keys(self, keys: Collection[str]) -> None:
        """Switch some keys on and all others off."""
        for key, shortcut in self.shortcuts.items():
            shortcut.setEnabled(key in keys)

    def release(self) -> None:
        """Give the keys back for good."""
        for shortcut in self.shortcuts.values():
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self.shortcuts.clear()


class QuietHelp(QObject):
    """Keeps napari from telling keys that do something else now.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose status bar says which keys belong to a layer's tools.
    parent : QObject
        napari's window, with which this ends.
    """

    def __init__(self, viewer: napari.Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = ref(viewer)
        self._active = False
        viewer.events.help.connect(self._silence)

    def set_active(self, active: bool) -> None:
        """Say nothing from now on, or what napari says of the layer that is selected."""
        self._active = active
        viewer = self._viewer()
        if viewer is None:
            return
        layer = viewer.layers.selection.active
        viewer.help = "" if active or layer is None else layer.help

    def _silence(self, _: object = None) -> None:
        viewer = self._viewer()
        if self._active and viewer is not None and viewer.help:
            viewer.help = ""


def napari_meanings(keys: Collection[str]) -> dict[str, str]:
    """Return what napari itself would do with keys, for those that it binds.

    Parameters
    ----------
    keys : collection of str
        As Qt names them.

    Returns
    -------
    dict of str to str
        napari's actions, in words, by key.
    """
    bound: dict[str, list[str]] = {}
    for action, bindings in get_settings().shortcuts.shortcuts.items():
        words = action.rsplit(":", 1)[-1].replace("_", " ")
        for binding in bindings:
            bound.setdefault(str(binding).upper(), []).append(words)
    return {key: ", ".join(sorted(set(found))) for key in keys if (found := bound.get(key.upper()))}
