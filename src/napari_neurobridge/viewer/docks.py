"""Where the docks and the second canvas lie in napari's window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt

from napari_neurobridge.viewer.dispatch import after_events

if TYPE_CHECKING:
    import napari

PLUGIN_NAMES = ("napari-neurobridge", "NeuroBridge")
"""napari names a dock after the first when code opens it, and after the second in its menu."""

DATA, MATCH, INSIGHT = "Data", "Match", "Insight"
LAYER_DOCKS_PX = 330
"""Width of napari's own layer list and controls."""


def stack_docks(viewer: napari.Viewer, front: str) -> None:
    """Lay the Insight dock on the Match dock, as tabs; each wants the window's height.

    Parameters
    ----------
    viewer : napari.Viewer
    front : str
        Which of the two is to be seen.
    """
    match, insight = dock_of(viewer, MATCH), dock_of(viewer, INSIGHT)
    if match is None or insight is None or match.isFloating() or insight.isFloating():
        return
    match.window().tabifyDockWidget(match, insight)
    (insight if front == INSIGHT else match).raise_()


def dock_of(viewer: napari.Viewer, name: str) -> Any:
    """Return one of our docks; None while it is not open."""
    widgets = viewer.window.dock_widgets
    names = [f"{name} ({plugin})" for plugin in PLUGIN_NAMES]
    return next((widgets[full].parent() for full in names if full in widgets), None)


def put_beside_main_canvas(viewer: napari.Viewer, dock: Any) -> None:
    """Put a second canvas left of our open docks, as wide as the first canvas."""
    window = dock.window()
    right = Qt.DockWidgetArea.RightDockWidgetArea
    ours = [dock_of(viewer, name) for name in (DATA, MATCH, INSIGHT)]
    others = [other for other in ours if other and window.dockWidgetArea(other) == right]
    match, insight = dock_of(viewer, MATCH), dock_of(viewer, INSIGHT)
    seen = insight is not None and not insight.visibleRegion().isEmpty()
    if match in others and insight in others:
        others.remove(insight)  # it lies on the Match dock
    for other in others:
        window.splitDockWidget(dock, other, Qt.Orientation.Horizontal)
    stack_docks(viewer, INSIGHT if seen else MATCH)

    def share_width() -> None:
        taken = sum(other.sizeHint().width() for other in others)
        free = viewer.window.geometry()[2] - taken - LAYER_DOCKS_PX
        window.resizeDocks(
            [dock, *others],
            [max(free // 2, 200), *(other.sizeHint().width() for other in others)],
            Qt.Orientation.Horizontal,
        )

    # Docks have their sizes only once the window has laid them out.
    after_events(share_width)
