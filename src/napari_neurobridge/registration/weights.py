"""Networks of registration as model folders: weights in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.model_folder import ModelFolder

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel
    from torch import nn

NetworkT = TypeVar("NetworkT", bound="nn.Module")


def save_network(
    model: nn.Module, config: BaseModel, folder: Path, *, half: bool = True
) -> ModelFolder:
    """Write configuration and weights as a new folder, floating point in 16 bits if ``half``.

    Raises
    ------
    InputError
        If the folder holds a model already.
    """
    tensors = {
        name: (value.half() if half and value.is_floating_point() else value)
        .detach()
        .cpu()
        .contiguous()
        for name, value in model.state_dict().items()
    }
    return ModelFolder.create(folder, config.model_dump(mode="json"), save(tensors))


def with_weights(model: NetworkT, stored: ModelFolder) -> NetworkT:
    """Return a network with a folder's weights, in evaluation mode.

    Raises
    ------
    InputError
        If the weights are damaged or do not fit.
    """
    weights = stored.weights()
    try:
        tensors = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise InputError(f"The weights {weights} are damaged.") from error
    known = model.state_dict()
    try:
        model.load_state_dict(
            {name: value.to(known[name].dtype) for name, value in tensors.items() if name in known}
        )
    except RuntimeError as error:
        raise InputError(f"The weights of {stored.path} do not fit its configuration.") from error
    return model.eval()
