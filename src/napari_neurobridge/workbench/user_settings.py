"""What a user has chosen for all projects: a small file beside other programs' settings."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_config_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_neurobridge.errors import NeuroBridgeError
from napari_neurobridge.io.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER_VARIABLE = "NEUROBRIDGE_CONFIG_DIR"
"""Environment variable that names another folder for the file."""

_FILE = "settings.json"


class Layout(BaseModel):
    """Where the user left the docks, in screen pixels.

    Attributes
    ----------
    column_px : int
        Width of the docks' column; 0 is the usual one.
    second_canvas_share : float
        Share of both canvases' width that the second has.
    docks : tuple of str
        Names of the docks that are open, in their order.
    front : str
        The one that is to be seen.
    """

    column_px: int = Field(0, ge=0, le=4000)
    second_canvas_share: float = Field(0.5, ge=0.1, le=0.9)
    docks: tuple[str, ...] = ()
    front: str = ""


class UserSettings(BaseModel):
    """What a user has chosen.

    Attributes
    ----------
    next_after_verdict : bool
        Whether a verdict asks the next question at once.
    recent_projects : tuple of str
        Folders, the latest first.
    layout : Layout
    """

    # A setting that another version wrote is kept.
    model_config = ConfigDict(extra="allow")

    next_after_verdict: bool = False
    recent_projects: tuple[str, ...] = ()
    layout: Layout = Layout()


def settings_path() -> Path:
    """Return the file's path, whether it is there or not."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return (Path(folder) if folder else user_config_path("napari-neurobridge")) / _FILE


def load_settings() -> UserSettings:
    """Return the settings; the usual ones where there is no file, or no readable one."""
    try:
        return UserSettings.model_validate_json(settings_path().read_text("utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return UserSettings()


def change_settings(**changes: Any) -> UserSettings:
    """Change some settings, and write all; a folder that cannot be written changes nothing.

    Parameters
    ----------
    **changes
        Fields of `UserSettings` with their new values.
    """
    settings = _changed(load_settings(), changes)
    # A setting that is lost is a nuisance; a program that stops for it is a fault.
    with suppress(OSError, NeuroBridgeError), atomic_write(settings_path()) as path:
        path.write_text(settings.model_dump_json(indent=1), "utf-8")
    return settings


def _changed(settings: UserSettings, changes: Mapping[str, Any]) -> UserSettings:
    return UserSettings.model_validate(settings.model_dump() | dict(changes))
