"""Networks as model folders: weights in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.model_folder import ModelFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydantic import BaseModel
    from torch import nn

NetworkT = TypeVar("NetworkT", bound="nn.Module")
ConfigT = TypeVar("ConfigT", bound="BaseModel")


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


def load_network(
    folder: Path, kind: str, config: type[ConfigT], build: Callable[[ConfigT], NetworkT]
) -> NetworkT:
    """Return the network of a model folder, in evaluation mode.

    Parameters
    ----------
    folder : Path
    kind : str
        One of the kinds of `models.model_folder`.
    config : type
        Of its configuration.
    build : callable
        Makes the network of a configuration.

    Raises
    ------
    InputError
        If a file is missing, damaged or of another kind of model, or the two do not fit together.
    """
    stored = ModelFolder.open(folder)
    stored.require_kind(kind)
    model = build(stored.config(config))
    weights = stored.weights()
    try:
        tensors = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise InputError(f"The weights {weights} are damaged.") from error
    try:
        # Which brings 16 bits to what the network computes in.
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"The weights of {stored.path} do not fit its configuration.") from error
    return model.eval()
