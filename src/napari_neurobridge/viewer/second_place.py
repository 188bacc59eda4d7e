"""The place beside napari's own canvas, which one of our canvases has at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from napari_neurobridge.viewer.canvases import keep_in_window
from napari_neurobridge.viewer.docked import dock_around

if TYPE_CHECKING:
    import napari

    from napari_neurobridge.viewer.canvases import DockedCanvas
    from napari_neurobridge.viewer.docks import DockColumn


class SecondPlace:
    """Docks canvases between napari's own and the column of our docks.

    Parameters
    ----------
    viewer : napari.Viewer
        The real viewer.
    column : DockColumn
        Shares the window's width with the canvas.
    """

    def __init__(self, viewer: napari.Viewer, column: DockColumn) -> None:
        self._viewer = ref(viewer)
        self._column = column
        self._covered: DockedCanvas | None = None

    def dock(self, canvas: DockedCanvas, name: str) -> None:
        """Dock a canvas, or show it again after its dock was closed."""
        viewer = self._viewer()
        if viewer is None or canvas is self._covered:
            return
        if name in viewer.window.dock_widgets:
            dock = dock_around(canvas)
            if dock is not None and dock.isHidden():
                dock.show()
                self._column.put_canvas(canvas)
            return
        dock = viewer.window.add_dock_widget(
            canvas, name=name, area="right", tabify=False, add_vertical_stretch=False
        )
        keep_in_window(dock)
        canvas.show()
        self._column.put_canvas(canvas)

    def cover(self, below: DockedCanvas | None, canvas: DockedCanvas, name: str) -> None:
        """Show a canvas in the place of another one, if that is in sight."""
        beneath = None if below is None else dock_around(below)
        if beneath is not None and beneath.isVisible():
            beneath.hide()
            self._covered = below
        self.dock(canvas, name)

    def uncover(self, canvas: DockedCanvas) -> None:
        """Hide a canvas, and show again what it covered."""
        if (dock := dock_around(canvas)) is not None:
            dock.hide()
        covered, self._covered = self._covered, None
        beneath = None if covered is None else dock_around(covered)
        if covered is not None and beneath is not None:
            beneath.show()
            self._column.put_canvas(covered)
        else:
            self._column.take_canvas()
