from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from napari_neurobridge.project import drive
from napari_neurobridge.project.drive import is_network_drive, mount_type

if TYPE_CHECKING:
    from pathlib import Path

MOUNTS = [("/", "ext4"), ("/mnt", "tmpfs"), ("/mnt/lab", "nfs4"), ("/mnt", "xfs")]


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/home/a", "ext4"), ("/mnt/lab/x", "nfs4"), ("/mnt/labor", "xfs"), ("/mnt", "xfs")],
)
def test_the_nearest_and_latest_mount_holds_a_folder(folder: str, kind: str) -> None:
    assert mount_type(PurePosixPath(folder), MOUNTS) == kind


@pytest.mark.parametrize(
    ("kind", "network"),
    [("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("ext4", False), ("apfs", False)],
)
def test_network_types(
    kind: str, network: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive.sys, "platform", "linux")
    monkeypatch.setattr(drive, "_mounts", lambda: [(tmp_path.resolve().anchor, kind)])
    assert is_network_drive(tmp_path) is network
