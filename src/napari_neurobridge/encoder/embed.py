"""A trained encoder as a folder, and embedding of crops with it."""

from __future__ import annotations

import hashlib
import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
from napari_neurobridge.errors import InputError
from napari_neurobridge.models.model_folder import ENCODER, ModelCalibration, ModelFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from napari_neurobridge.types import Float32Array, Report

Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]

_ARCHITECTURE = "architecture"


class Encoder:
    """A trained dual-channel encoder, ready to embed.

    Parameters
    ----------
    model : DualChannelEncoder
        The network; it is put into evaluation mode.
    weights_hash : str
        First 12 hex digits of the weights file's SHA-256; keys the embeddings made.
    calibration : ModelCalibration, optional
        What its similarities mean; unknown unless given.
    """

    def __init__(
        self,
        model: DualChannelEncoder,
        weights_hash: str,
        calibration: ModelCalibration | None = None,
    ) -> None:
        self.device = best_device()
        self.calibration = calibration or ModelCalibration()
        # Channels last is how the convolution kernels of CPUs and GPUs want it.
        self.model = model.to(self.device).to(memory_format=torch.channels_last).eval()
        self.hash = weights_hash

    @property
    def config(self) -> EncoderConfig:
        """Architecture of the network."""
        return self.model.config

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.config.name

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return self.config.dim

    @classmethod
    def load(cls, folder: Path | str) -> Encoder:
        """Read a model folder.

        Raises
        ------
        InputError
            If a file is missing, damaged or of another kind of model, the configuration asks for
            too much, or the two do not fit together.
        """
        stored = ModelFolder.open(folder)
        stored.require_kind(ENCODER)
        config = stored.config(EncoderConfig)
        tensors, made_for = _read_weights(stored.weights())
        misfit = InputError(f"The weights of {stored.path} do not fit its configuration.")
        if made_for not in ("", _architecture_digest(stored.values)):
            raise misfit
        if config.global_channel.pretrained:
            # The folder holds the weights; timm's own would only be overwritten.
            context = config.global_channel.model_copy(update={"pretrained": False})
            config = config.model_copy(update={"global_channel": context})
        model = DualChannelEncoder(config)
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            raise misfit from error
        return cls(model, stored.hash, stored.calibration)

    def embed(
        self,
        crops: Float32Array,
        *,
        batch_size: int = 64,
        precision: Precision = "auto",
        report: Report | None = None,
    ) -> Float32Array:
        """Embed crops as unit vectors.

        Parameters
        ----------
        crops : ndarray of float32, shape (N, P, P)
            Normalised crops in [0, 1], as :func:`napari_neurobridge.io.crops.extract_crops`
            gives them.
        batch_size : int, default: 64
            Crops per forward pass.
        precision : {"auto", "float32", "bfloat16"}, default: "auto"
            "auto" takes bfloat16 where the processor multiplies it natively. A crop's
            vector then depends on its company by about 1e-3; with "float32" by 1e-6.
        report : callable, optional
            Called as ``report(done, total, text)`` after each batch.

        Returns
        -------
        ndarray of float32, shape (N, dim)
            Rows of norm one.

        Raises
        ------
        InputError
            If the crops have another size than the model was made for, or hold NaN.
        """
        vectors = self._map(self.model, crops, self.dim, batch_size, precision, report)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.maximum(norms, 1e-12)
        return vectors

    def trunk_features(
        self, crops: Float32Array, *, batch_size: int = 64, precision: Precision = "auto"
    ) -> Float32Array:
        """Return max-pooled features of both trunks (N, F), for distances between domains."""
        width = self.config.local_channel.widths[-1] + self.model.global_channel.readout.in_features
        return self._map(
            self.model.trunk_features, crops, width, batch_size, precision, report=None
        )

    def gate_weights(
        self, crops: Float32Array, *, batch_size: int = 64, precision: Precision = "auto"
    ) -> Float32Array:
        """Return how much of each crop's vector is the local and how much the global channel.

        Parameters
        ----------
        crops, batch_size, precision
            As for :meth:`embed`.

        Returns
        -------
        ndarray of float32, shape (N, 2)
            Local and global; rows sum to one. All is on one side where the model uses one
            channel alone.

        Raises
        ------
        InputError
            If the crops have another size than the model was made for, or hold NaN.
        """
        weights = self._map(self.model.gate_weights, crops, 2, batch_size, precision, report=None)
        if self.config.channels != "both":
            weights[:] = (1, 0) if self.config.channels == "local" else (0, 1)
        return weights

    def _map(
        self,
        function: Callable[[Tensor], Tensor],
        crops: Float32Array,
        width: int,
        batch_size: int,
        precision: Precision,
        report: Report | None,
    ) -> Float32Array:
        pixels = self.config.crop_pixels
        if crops.ndim != 3 or crops.shape[1:] != (pixels, pixels):
            raise InputError(
                f"model {self.name!r} embeds crops of {pixels} x {pixels} pixels, not an array "
                f"of shape {crops.shape}; extract the crops with the size it was trained on"
            )
        vectors = np.empty((len(crops), width), dtype=np.float32)
        with torch.inference_mode(), _autocast(self.device, precision):
            running: _Running | None = None
            for start in range(0, len(crops), batch_size):
                # A GPU works while the next batch is made ready, and the last one fetched.
                ahead = self._launch(function, crops[start : start + batch_size], start)
                if running is not None:
                    self._fetch(running, vectors, report)
                running = ahead
            if running is not None:
                self._fetch(running, vectors, report)
        return vectors

    def _launch(
        self, function: Callable[[Tensor], Tensor], crops: Float32Array, start: int
    ) -> _Running:
        batch = torch.from_numpy(np.ascontiguousarray(crops, dtype=np.float32))[:, None]
        if self.device.type == "cuda":
            batch = batch.pin_memory()  # or the copy would wait for the work before it
        batch = batch.to(self.device, non_blocking=True)
        finite = torch.isfinite(batch).flatten(1).all(dim=1)
        return _Running(start, function(batch).float(), finite)

    def _fetch(self, running: _Running, vectors: Float32Array, report: Report | None) -> None:
        stop = running.start + len(running.vectors)
        vectors[running.start : stop] = running.vectors.cpu().numpy()
        finite = running.finite.cpu().numpy()
        if not finite.all():
            raise InputError(
                f"crop {running.start + int(finite.argmin())} of {len(vectors)} (counted from 0) "
                "holds NaN or infinite pixels; replace them, for example by 0"
            )
        if report is not None:
            report(stop, len(vectors), "embedding crops")


@dataclass(frozen=True, slots=True)
class _Running:
    """A batch that the device may still be working on: its first crop, and what becomes of it."""

    start: int
    vectors: Tensor
    finite: Tensor


def save_model(model: DualChannelEncoder, folder: Path) -> ModelFolder:
    """Write configuration and weights (float16) as a new model folder.

    Weights are rounded to half precision: embeddings change by less than 1e-3, and the
    file halves. Statistics of batch normalisation stay as they are. The weights name the
    architecture, since the same tensors can fit another one and mean something else there;
    hence their hash stands for the whole model.

    Raises
    ------
    InputError
        If the folder holds a model already.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous().to(_storage_dtype(name, tensor))
        for name, tensor in model.state_dict().items()
    }
    config = model.config.model_dump(mode="json")
    return ModelFolder.create(
        folder, config, save(tensors, {_ARCHITECTURE: _architecture_digest(config)})
    )


def best_device() -> torch.device:
    """Return cuda, else mps, else cpu."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def autocast_pays(device: torch.device) -> bool:
    """Say whether bfloat16 is faster than float32: on CUDA, and on CPUs with AMX tiles."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # torch asks the processor itself, but has not made the question public yet.
    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return device.type == "cpu" and probe is not None and bool(probe())


def _autocast(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    wanted = precision == "bfloat16" or (precision == "auto" and autocast_pays(device))
    return torch.autocast(device.type, torch.bfloat16) if wanted else nullcontext()


def _storage_dtype(name: str, tensor: Tensor) -> torch.dtype:
    if not tensor.is_floating_point() or "running_" in name:
        return tensor.dtype
    return torch.float16


def _read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the tensors, and the digest of the architecture that they were made for, if known."""
    try:
        with safe_open(path, framework="pt") as file:
            made_for = (file.metadata() or {}).get(_ARCHITECTURE, "")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"The weights {path} are damaged.") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputError(f"The weights {path} are damaged: '{name}' holds no finite numbers.")
    return tensors, made_for


def _architecture_digest(values: Mapping[str, object]) -> str:
    """Return what changes with all of a configuration file but the name.

    It is that of the file, not of the configuration read from it, which has the options of
    later versions too.
    """
    architecture = {key: value for key, value in values.items() if key != "name"}
    return hashlib.sha256(json.dumps(architecture, sort_keys=True).encode()).hexdigest()[:12]
