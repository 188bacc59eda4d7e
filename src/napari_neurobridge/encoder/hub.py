"""Published weights: from a folder of one's own, a cache, or where they are published."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import timm
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RemoteEntryNotFoundError
from timm.models import get_pretrained_cfg

from napari_neurobridge.errors import InputError

BACKBONES_VARIABLE = "NEUROBRIDGE_BACKBONES"
_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
_USUAL_FILES = ("model.safetensors", "pytorch_model.bin")
# The hub's client has changed its HTTP library before and does not export that one's error,
# which is a base of its own beside OSError.
_FAILURES = cast(
    "tuple[type[Exception], ...]", (*HfHubHTTPError.__bases__, EntryNotFoundError, ValueError)
)


@dataclass(frozen=True, slots=True)
class PublishedBackbone:
    """What timm says of one of its models.

    Attributes
    ----------
    name : str
        Architecture and, after a dot, the tag of its weights.
    channels, size : int
        Of the images that the weights were trained on.
    fixed_size : bool
        Whether the network has to be built for one size of image.
    mean, std : tuple of float
        Of each channel, by which images in [0, 1] are normalised.
    interpolation : {"bicubic", "bilinear"}
        How images are resized.
    repository : str
        Where the weights are on the hub; empty when timm publishes none there.
    licence : str
        Of the weights, in timm's words; empty when it does not say.
    """

    name: str
    channels: int
    size: int
    fixed_size: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Literal["bicubic", "bilinear"]
    repository: str
    licence: str


def published_backbone(name: str) -> PublishedBackbone:
    """Look a timm model up, without a network.

    Parameters
    ----------
    name : str
        An architecture, such as ``"resnet18"``, for its usual weights; or one with a tag,
        such as ``"resnet18.a1_in1k"``.

    Raises
    ------
    InputError
        If timm does not know the name.
    """
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        raise InputError(
            f"timm knows no model named {name!r}; `timm.list_models('vit*')` lists those it has"
        )
    try:
        config = get_pretrained_cfg(name)
    except RuntimeError as error:
        known = ", ".join(timm.list_pretrained(f"{architecture}.*")) or "none"
        raise InputError(f"timm has no weights named {name!r}; it has {known}") from error
    if config is None:
        raise InputError(f"timm does not say what images {name!r} expects; choose another model")
    # The tag "untrained" names no weights.
    tag = config.tag if config.has_weights else None
    channels, size, _ = config.input_size
    return PublishedBackbone(
        name=f"{architecture}.{tag}" if tag else architecture,
        channels=channels,
        size=size,
        fixed_size=config.fixed_input_size,
        mean=tuple(config.mean),
        std=tuple(config.std),
        interpolation="bilinear" if config.interpolation == "bilinear" else "bicubic",
        repository=config.hf_hub_id or "",
        licence=config.license or "",
    )


def backbones_folder() -> Path:
    """Return where weights can be put by hand: ``NEUROBRIDGE_BACKBONES``, or in the cache."""
    if custom := os.environ.get(BACKBONES_VARIABLE):
        return Path(custom).expanduser()
    return Path("~/.cache/neurobridge/backbones").expanduser()


def find_weights(name: str, *, sha256: str = "") -> tuple[Path, str]:
    """Return the file of a timm model's weights, downloading it if need be.

    A file in `backbones_folder` comes first, then the cache of the Hugging Face hub, then
    the hub itself.

    Parameters
    ----------
    name : str
        See :func:`published_backbone`.
    sha256 : str, optional
        What the file's digest has to be.

    Returns
    -------
    path : Path
    sha256 : str
        Digest of the file, 64 hex digits.

    Raises
    ------
    InputError
        If timm publishes no such weights, they cannot be had, or they are other weights.
    """
    backbone = published_backbone(name)
    if not backbone.repository:
        raise InputError(
            f"timm publishes no weights of {name!r} on the Hugging Face hub; "
            "`timm.list_pretrained()` lists the models whose weights it does"
        )
    folder = backbones_folder()
    own = (folder / f"{backbone.name}{suffix}" for suffix in _SUFFIXES)
    path = next((path for path in own if path.is_file()), None) or _from_hub(backbone, folder)
    digest = _digest(path)
    if sha256 and digest != sha256:
        raise InputError(
            f"the weights {path} are not those of {backbone.name} that this model starts from "
            f"(SHA-256 {digest[:12]}, not {sha256[:12]}); delete the file to have it fetched again"
        )
    return path, digest


def find_published_file(url: str, *, sha256: str) -> Path:
    """Return the file of weights that an address names, downloading it if need be.

    A file of that name in `backbones_folder` comes first; there a download is kept, too.

    Parameters
    ----------
    url : str
        Ends with the name of the file.
    sha256 : str
        What the file's digest has to be, 64 hex digits.

    Raises
    ------
    InputError
        If it cannot be downloaded, or it is another file.
    """
    path = backbones_folder() / url.rpartition("/")[2]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # It writes to a temporary name, and refuses what has another digest.
            torch.hub.download_url_to_file(url, str(path), hash_prefix=sha256, progress=False)
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(
                f"the weights {path.name} cannot be downloaded here: on a machine with a network, "
                f"get {url} and put it here as {path}"
            ) from error
    if _digest(path) != sha256:
        raise InputError(
            f"the file {path} is not the one that was published (its SHA-256 is not "
            f"{sha256[:12]}...); delete it to have it fetched again"
        )
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _from_hub(backbone: PublishedBackbone, folder: Path) -> Path:
    """Return the cached file, else download it."""
    config = get_pretrained_cfg(backbone.name)
    named = config.hf_hub_filename if config is not None else None
    files = (named,) if named else _USUAL_FILES
    reason: Exception | None = None
    # What was downloaded once needs no network, nor half a minute of looking for one.
    for cached_only in (True, False):
        for file in files:
            try:
                path = hf_hub_download(backbone.repository, file, local_files_only=cached_only)
                return Path(path)
            except _FAILURES as error:
                reason = error
            if not cached_only and not isinstance(reason, RemoteEntryNotFoundError):
                break  # not for want of this file, hence no other will do
    target = folder / f"{backbone.name}{Path(files[0]).suffix}"
    raise InputError(
        f"the weights of {backbone.name} cannot be downloaded here: on a machine with a network, "
        f"get {files[0]} of {backbone.repository} from the Hugging Face hub and put it here as "
        f"{target}, or start from the bundled model"
    ) from reason
