"""The button that makes a dataset of a layer that already lies in the viewer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from napari_neurobridge.types import Role
from napari_neurobridge.viewer.layer_sources import OfferedLayer
from napari_neurobridge.workbench.layers_in import SUFFIX
from napari_neurobridge.workbench.workbench import Workbench
from napari_neurobridge.workflows.layers import LayerImage, LayerPoints

Layers = Callable[[], list[OfferedLayer]]


def no_layers() -> list[OfferedLayer]:
    """Return nothing: for a panel without a viewer."""
    return []


class LayerButton(QPushButton):
    """Lists layers; what cannot be used is shown with the reason and cannot be chosen.

    Parameters
    ----------
    layers : callable
        Returns the layers that there are now.
    images : bool
        Whether images can be chosen, or points alone.
    """

    def __init__(self, layers: Layers, *, images: bool, parent: QWidget | None = None) -> None:
        super().__init__("From a layer" if images else "Add a layer's points", parent)
        self._layers = layers
        self._images = images
        self.list = QMenu(self)
        self.list.setToolTipsVisible(True)
        self.list.aboutToShow.connect(self._fill)
        self.setMenu(self.list)

    def use(self, content: LayerImage | LayerPoints) -> None:
        """Do with a layer's content what the button is for."""
        raise NotImplementedError

    def _fill(self) -> None:
        self.list.clear()
        for layer in self._layers():
            if layer.is_image and not self._images:
                continue
            kind = "image" if layer.is_image else "points"
            action = self.list.addAction(f"{layer.name.replace('&', '&&')}  ({kind})")
            assert action is not None
            action.setEnabled(not layer.problem)
            action.setToolTip(layer.problem)
            if layer.problem:
                action.setText(f"{action.text()}: {layer.problem}")
            action.triggered.connect(partial(self._on_chosen, layer))
        if self.list.isEmpty():
            none = self.list.addAction("no image or points layer" if self._images else "no points")
            assert none is not None
            none.setEnabled(False)

    def _on_chosen(self, layer: OfferedLayer, _checked: bool = False) -> None:
        self.use(layer.read())


class SideLayerButton(LayerButton):
    """Lets a layer be one side of a new project.

    Parameters
    ----------
    workbench : Workbench
    role : Role
    layers : callable
    """

    def __init__(self, workbench: Workbench, role: Role, layers: Layers) -> None:
        super().__init__(layers, images=True)
        self._workbench = workbench
        self._role = role
        workbench.layers_in.path_wanted.connect(self._on_path_wanted)

    def use(self, content: LayerImage | LayerPoints) -> None:
        """Take an image, or points."""
        if isinstance(content, LayerImage):
            self._workbench.layers_in.use_image(self._role, content)
        else:
            self._workbench.layers_in.use_points(self._role, content)

    def _on_path_wanted(self, role: Role, image: LayerImage) -> None:
        if role is not self._role:
            return
        path, _ = QFileDialog.getSaveFileName(
            self, f"Save '{image.name}' as OME-Zarr", f"{image.name}{SUFFIX}", "OME-Zarr (*.zarr)"
        )
        if path:
            self._workbench.layers_in.save_image(role, image, Path(path))


class PointsLayerButton(LayerButton):
    """Adds a layer's points to the somata of a dataset of the open project.

    Parameters
    ----------
    workbench : Workbench
    dataset : callable
        Returns the name of the dataset.
    layers : callable
    """

    def __init__(self, workbench: Workbench, dataset: Callable[[], str], layers: Layers) -> None:
        super().__init__(layers, images=False)
        self._workbench = workbench
        self._dataset = dataset
        self.setObjectName("points_layer_button")

    def use(self, content: LayerImage | LayerPoints) -> None:
        """Take points."""
        if isinstance(content, LayerPoints):
            self._workbench.layers_in.add_points(self._dataset(), content)
