"""The buttons of the Register dock that look at a registration, correct it and write it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Protocol

from psygnal import SignalInstance
from qtpy.QtCore import QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QGridLayout, QMenu, QPushButton, QWidget
from superqt.utils import signals_blocked

from napari_neurobridge.workbench.workbench import Workbench
from napari_neurobridge.workflows.transforms import TransformFormat

_COLUMNS = 3

_FORMATS = (
    ("Record, matches and quality page…", None),
    ("… and the map as OME-NGFF (OME-Zarr)", TransformFormat.NGFF),
    ("… and the map for ITK, ANTs and Elastix", TransformFormat.ITK),
    ("… and the matches as BigWarp landmarks", TransformFormat.BIGWARP),
)


class Canvas(Protocol):
    """What draws a registration; see `RegistrationLayers`."""

    @property
    def shows_matches(self) -> bool:
        """Whether correspondences are drawn."""

    @property
    def overlaid(self) -> bool:
        """Whether the source lies where the map puts it."""

    def show_matches(self, shown: bool) -> None:
        """Draw correspondences, or take them away."""

    def overlay(self, overlaid: bool) -> None:
        """Put the source where the map puts it, or back."""

    def look_at_selected(self) -> None:
        """Move to the match that is selected."""


class Beside(Protocol):
    """What shows both images side by side; see `SideBySide`."""

    changed: SignalInstance

    @property
    def shown(self) -> bool:
        """Whether it does so now."""

    def show(self, shown: bool) -> None:
        """Show both, or what was there before."""


class RegisterActions(QWidget):
    """Draws, corrects and writes what was registered.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the buttons read it and call its methods.
    canvas : Canvas, optional
        Draws the result.
    beside : Beside, optional
        Shows both images side by side.

    Signals
    -------
    layers_moved
        The source layer lies elsewhere in the viewer now.
    """

    layers_moved = Signal()

    def __init__(
        self,
        workbench: Workbench,
        canvas: Canvas | None = None,
        beside: Beside | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._registering = workbench.registering
        self._canvas = canvas
        self._beside = beside
        self.remove_button = _button("Remove match", "remove_match_button", "Key: Delete")
        self.undo_button = _button("Undo", "undo_match_button", "Brings it back. Key: Ctrl+Z")
        self.warp_button = _button(
            "Warped layer", "warp_button", "Adds the source, warped by the whole map, as a layer"
        )
        self.page_button = _button(
            "Quality page…", "quality_page_button", "Saves the evidence as one page, and opens it"
        )
        self._create_modes()
        self._create_export()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        for place, button in enumerate(
            (
                self.remove_button,
                self.undo_button,
                self.matches_button,
                self.overlay_button,
                self.beside_button,
                self.warp_button,
                self.page_button,
                self.export_button,
            )
        ):
            grid.addWidget(button, place // _COLUMNS, place % _COLUMNS)
        registering = self._registering
        self.remove_button.clicked.connect(lambda _checked=False: registering.remove())
        self.undo_button.clicked.connect(lambda _checked=False: registering.undo())
        self.warp_button.clicked.connect(lambda _checked=False: registering.warp())
        self.page_button.clicked.connect(self._on_page_clicked)
        registering.changed.connect(self._refresh)
        registering.selected_changed.connect(self._on_selected)
        if beside is not None:
            beside.changed.connect(self._show_modes)
        self._refresh()

    def _create_modes(self) -> None:
        self.matches_button = _button(
            "Correspondences",
            "show_matches_button",
            "Source places as discs, target places as rings, joined by lines; lighter: higher C. "
            "Click one to look at it",
        )
        self.overlay_button = _button(
            "Overlay",
            "overlay_button",
            "Puts the source layer where the map's affine part puts it; off puts it back",
        )
        self.beside_button = _button(
            "Side by side",
            "side_by_side_button",
            "Shows the target in a second canvas, turned as the source lies: move or zoom either "
            "canvas, and the other shows the same tissue",
        )
        for button in (self.matches_button, self.overlay_button, self.beside_button):
            button.setCheckable(True)
        self.matches_button.toggled.connect(self._on_matches_toggled)
        self.overlay_button.toggled.connect(self._on_overlay_toggled)
        self.beside_button.toggled.connect(self._on_beside_toggled)

    def _create_export(self) -> None:
        self.export_button = _button("Export", "export_registration_button", "Writes files")
        self._exports = QMenu(self.export_button)
        for words, transform_format in _FORMATS:
            action = self._exports.addAction(words)
            assert action is not None
            action.triggered.connect(partial(self._on_export, transform_format))
        self.export_button.setMenu(self._exports)

    def put_back(self) -> None:
        """Put the source layer back to where it lay."""
        self.overlay_button.setChecked(False)

    # --- from the view to the state ------------------------------------------------------

    def _on_matches_toggled(self, shown: bool) -> None:
        if self._canvas is not None:
            self._canvas.show_matches(shown)

    def _on_overlay_toggled(self, overlaid: bool) -> None:
        if overlaid:
            self.beside_button.setChecked(False)
        if self._canvas is not None:
            self._canvas.overlay(overlaid)
            self.layers_moved.emit()
        self._show_modes()  # one mode ended the other before it began itself

    def _on_beside_toggled(self, shown: bool) -> None:
        if shown:
            self.overlay_button.setChecked(False)
        if self._beside is not None:
            self._beside.show(shown)

    def _on_page_clicked(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the quality page", "quality.html", "Web page (*.html)"
        )
        if path:
            self._registering.write_page(Path(path), _open_page)

    def _on_export(self, transform_format: TransformFormat | None, _checked: bool = False) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose a folder for the registration")
        if folder:
            self._registering.write(Path(folder), transform_format)

    # --- from the state to the view ------------------------------------------------------

    def _on_selected(self) -> None:
        selected = self._registering.selected is not None
        self.remove_button.setEnabled(selected)
        if selected and self._canvas is not None:
            self._canvas.look_at_selected()

    def _refresh(self) -> None:
        registering = self._registering
        decision = registering.decision
        known, accepted = decision is not None, bool(decision and decision.accepted)
        for button in (
            self.matches_button,
            self.beside_button,
            self.page_button,
            self.export_button,
        ):
            button.setEnabled(known)
        self.overlay_button.setEnabled(registering.affine is not None)
        self.warp_button.setEnabled(accepted)
        self.undo_button.setEnabled(registering.n_removed > 0)
        for action in self._exports.actions()[1:]:
            action.setEnabled(accepted)
        self._show_modes()
        self._on_selected()

    def _show_modes(self) -> None:
        """Show how both images are seen now."""
        for button, on in (
            (self.overlay_button, self._canvas is not None and self._canvas.overlaid),
            (self.beside_button, self._beside is not None and self._beside.shown),
        ):
            with signals_blocked(button):
                button.setChecked(on)


def _button(text: str, name: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setToolTip(tip)
    return button


def _open_page(path: Path) -> None:
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))
