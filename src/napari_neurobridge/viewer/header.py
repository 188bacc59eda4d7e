"""The bar over a canvas: what a click does, how thick the slab is, and the way home."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Points
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractButton,
    QButtonGroup,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QDoubleRangeSlider
from superqt.utils import signals_blocked

from napari_neurobridge.viewer.layers import DATASET_KEY, is_somata_layer
from napari_neurobridge.viewer.styles import LEAST_SLAB_UM, MOST_SLAB_UM, SLAB_UM, quiet_stylesheet

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_neurobridge.types import Vec3
    from napari_neurobridge.workbench.ghost import GhostCursor
    from napari_neurobridge.workbench.overlay import Overlay

_TOOLS = (
    ("pan_zoom", "look", "Click a circle to choose it; drag to move the view"),
    ("add", "+ add", "Click to add a soma"),
    ("select", "move", "Drag a circle; the Delete key removes it"),
)


class CanvasHeader(QWidget):
    """Tools of one canvas, in two rows that fit 300 px.

    Parameters
    ----------
    title : str
        What the canvas shows.
    model : ViewerModel
        The canvas.

    Signals
    -------
    slab_changed : int
        Thickness of the slab that the user wants, µm.
    home_wanted
        The user wants to see the whole again.
    """

    slab_changed = Signal(int)
    home_wanted = Signal()

    def __init__(self, title: str, model: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = model
        self.setObjectName(f"{title.lower().replace('-', '_')}_header")
        self.title = QLabel(f"<b>{title}</b>")
        self.place = QLabel()
        self.place.setObjectName("cursor_um")
        self._tells_ghost = False
        self.place.setMinimumWidth(1)
        self.place.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.place.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.place.setMinimumHeight(self.place.fontMetrics().height())
        self.tools = {mode: header_button(text, f"tool_{mode}", tip) for mode, text, tip in _TOOLS}
        # A group, not a lambda for each button: a lambda would keep the canvas alive.
        self._tool_group = QButtonGroup(self)
        for mode, tool in self.tools.items():
            tool.setProperty("mode", mode)
            self._tool_group.addButton(tool)
        self.tools["pan_zoom"].setChecked(True)
        self.slab = QSpinBox()
        self.slab.setObjectName("slab_um")
        self.slab.setRange(LEAST_SLAB_UM, MOST_SLAB_UM)
        self.slab.setSingleStep(5)
        self.slab.setValue(int(SLAB_UM))
        self.slab.setSuffix(" µm slab")
        self.slab.setToolTip("Thickness of the tissue that both canvases project")
        self.home = header_button("home", "home", "Show the whole dataset", checkable=False)
        self.contrast = QDoubleRangeSlider(Qt.Orientation.Horizontal)
        self.contrast.setObjectName("contrast")
        self.contrast.setToolTip(f"Contrast of the {title} image")
        self.contrast.setEnabled(False)
        self._create_layout()

        model.events.theme.connect(self._show_theme)
        self._show_theme()
        self._tool_group.buttonClicked.connect(self._on_tool_clicked)
        self.slab.valueChanged.connect(self.slab_changed)
        self.home.clicked.connect(self.home_wanted)
        self.contrast.valueChanged.connect(self._on_contrast_moved)

    def _create_layout(self) -> None:
        self.first = QHBoxLayout()
        self.first.addWidget(self.title)
        self.first.addStretch(1)
        for tool in self.tools.values():
            self.first.addWidget(tool)
        second = QHBoxLayout()
        second.addWidget(self.slab)
        second.addWidget(self.contrast, stretch=1)
        second.addWidget(self.home)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(2)
        layout.addLayout(self.first)
        layout.addLayout(second)
        self.foot = QHBoxLayout()
        self.foot.addWidget(self.place, stretch=1)
        layout.addLayout(self.foot)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def _show_theme(self, _: object = None) -> None:
        self.setStyleSheet(quiet_stylesheet(self.model.theme))

    # --- tools -------------------------------------------------------------------------

    @property
    def somata(self) -> Points | None:
        """The layer of somata, while there is one."""
        return next((layer for layer in self.model.layers if is_somata_layer(layer)), None)

    def show_tool(self, mode: str) -> None:
        """Show which tool is at work; one that has no button leaves all of them up."""
        # A group that allows one button only must not keep the last one down.
        self._tool_group.setExclusive(False)
        for name, tool in self.tools.items():
            with signals_blocked(tool):
                tool.setChecked(name == mode)
        self._tool_group.setExclusive(True)

    def _on_tool_clicked(self, tool: QAbstractButton) -> None:
        somata = self.somata
        if somata is None:
            self.show_tool("pan_zoom")
            return
        self.model.layers.selection.active = somata
        somata.mode = tool.property("mode")

    # --- seeing ------------------------------------------------------------------------

    def show_slab(self, slab_um: int) -> None:
        """Show the thickness of the slab."""
        with signals_blocked(self.slab):
            self.slab.setValue(slab_um)

    def show_place(self, position_um: Vec3 | None) -> None:
        """Write where the mouse is, µm (z, y, x)."""
        self._tells_ghost = False
        if position_um is None:
            self.place.clear()
            return
        z, y, x = position_um
        self.place.setText(f"z {z:.1f}  y {y:.1f}  x {x:.1f} µm")

    def show_ghost(self, text: str) -> None:
        """Write where the mouse in the other canvas points; empty takes that away again."""
        if text or self._tells_ghost:
            self.place.setText(text)
        self._tells_ghost = bool(text)

    def follow_place(self, position_um: Vec3 | None) -> None:
        """Write another depth under a mouse that has been over the canvas."""
        if self.place.text() and not self._tells_ghost:
            self.show_place(position_um)

    @property
    def image(self) -> Image | None:
        """The dataset's image layer, while there is one."""
        layers = (layer for layer in self.model.layers if isinstance(layer, Image))
        return next((layer for layer in layers if DATASET_KEY in layer.metadata), None)

    def fit_contrast(self) -> None:
        """Give the contrast slider the image's range."""
        image = self.image
        self.contrast.setEnabled(image is not None)
        if image is None:
            return
        low, high = image.contrast_limits
        with signals_blocked(self.contrast):
            self.contrast.setRange(0.0 if low >= 0 else low, float(high + (high - low)))
            self.contrast.setValue((low, high))

    def _on_contrast_moved(self, limits: tuple[float, float]) -> None:
        low, high = limits
        if self.image is not None and high > low:
            self.image.contrast_limits = (low, float(np.nextafter(high, np.inf)))


class OverlayControls(QWidget):
    """Shows the other side's image over this one, and how much of it.

    Parameters
    ----------
    overlay : Overlay
        Shared state; the controls read it and call its methods.
    """

    def __init__(self, overlay: Overlay, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._overlay = overlay
        self.button = header_button("overlay", "overlay_button")
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setObjectName("overlay_opacity")
        self.opacity.setRange(0, 100)
        self.opacity.setMaximumWidth(70)
        self.opacity.setToolTip("How much of the fMOST image is seen")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)
        layout.addWidget(self.opacity)
        self.button.toggled.connect(overlay.show)
        self.opacity.valueChanged.connect(self._on_opacity_moved)
        overlay.changed.connect(self._refresh)
        self._refresh()

    def _on_opacity_moved(self, percent: int) -> None:
        self._overlay.set_opacity(percent / 100)

    def _refresh(self) -> None:
        overlay = self._overlay
        with signals_blocked(self.button), signals_blocked(self.opacity):
            self.button.setChecked(overlay.wanted)
            self.opacity.setValue(round(100 * overlay.opacity))
        self.button.setEnabled(overlay.offered)
        self.opacity.setVisible(overlay.wanted)
        self.button.setToolTip(
            "The fMOST image, warped by the alignment, in green over the two-photon image in "
            "magenta; F swaps them. Hidden in a random check."
            if overlay.offered
            else "Two images and an accepted pair are needed: the alignment warps one of them"
        )


class GhostButton(QPushButton):
    """Shows the place under the mouse in the other canvas, or hides it.

    Parameters
    ----------
    ghost : GhostCursor
        Shared state; the button reads it and calls its method.
    """

    def __init__(self, ghost: GhostCursor, parent: QWidget | None = None) -> None:
        super().__init__("pointer", parent)
        self._ghost = ghost
        _as_header_button(self, "pointer_button")
        self.toggled.connect(ghost.show)
        ghost.changed.connect(self._refresh)
        self._refresh()

    def _refresh(self) -> None:
        with signals_blocked(self):
            self.setChecked(self._ghost.wanted)
        if self.isEnabled() == self._ghost.offered and self.toolTip():
            return
        self.setEnabled(self._ghost.offered)
        self.setToolTip(
            "The place under the mouse in one canvas, where it is expected in the other: a cross "
            "with one and two standard deviations. Hidden in a random check."
            if self._ghost.offered
            else "Accept a pair first: an alignment says where the place under the mouse lies"
        )


def header_button(text: str, name: str, tip: str = "", *, checkable: bool = True) -> QPushButton:
    """Return a small button of a canvas's header."""
    # Push buttons, since napari's themes show which of those are pressed.
    button = QPushButton(text)
    button.setToolTip(tip)
    _as_header_button(button, name)
    button.setCheckable(checkable)
    return button


def _as_header_button(button: QPushButton, name: str) -> None:
    button.setObjectName(name)
    button.setCheckable(True)
    # The canvas keeps the focus, and with it the keys.
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
