"""Somebody at the Register dock: two planes of discs, the menus, and the dock's buttons."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QLabel, QPushButton

from beacons import plane_of, scattered, turning
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.workbench.registering import Registering
from window_user import User

SIZE = 220
PLACES = scattered(60, SIZE)
TRUE = turning(25.0, SIZE, 1.05)
SHIFT = 40.0
PIXEL_UM = 0.8
UNITS = ("um", "um")

PLUGIN_MENU = ("Plugins", "NeuroBridge", "Register")
LAYERS_MENU = ("Layers", "Register", "Register")

BUTTONS = (
    "register_button",
    "remove_match_button",
    "undo_match_button",
    "show_matches_button",
    "overlay_button",
    "side_by_side_button",
    "warp_button",
    "quality_page_button",
    "export_registration_button",
)


def open_images(user: User, matcher: Any, menu: tuple[str, ...] = PLUGIN_MENU) -> Registering:
    """Open two images as layers, and the dock by a menu entry."""
    source = plane_of(PLACES, (SIZE, SIZE)).values
    target = plane_of(TRUE(PLACES) + SHIFT, (360, 360), pixel_um=PIXEL_UM).values
    user.do(lambda: user.viewer.add_image(source, name="in vivo", units=UNITS))
    user.do(
        lambda: user.viewer.add_image(
            target, name="ex vivo", units=UNITS, scale=(PIXEL_UM, PIXEL_UM), translate=(30, 300)
        )
    )
    user.menu(*menu)
    user.settle(60)
    registering = binding_for(user.viewer).workbench.registering
    registering.load_matcher = lambda: matcher
    return registering


def text_of(user: User, name: str) -> str:
    """Return what a label says."""
    return user.find(QLabel, name).text()


def button(user: User, name: str) -> QPushButton:
    """Return a button by its name."""
    return user.find(QPushButton, name)


def register(user: User, registering: Registering) -> None:
    """Press Register, and wait for the result."""
    before = registering.planes
    user.click(button(user, "register_button"))
    user.wait(lambda: registering.planes is not before)
    user.settle(20)
