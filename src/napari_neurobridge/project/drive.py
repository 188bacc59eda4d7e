"""Tell a network drive from a local disk; SQLite's write-ahead log needs the latter."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_NETWORK_TYPES = re.compile(
    r"9p|afpfs|beegfs|ceph|cifs|davfs|gpfs|lustre|nfs4?|prl_fs|smb\w+|vboxsf|fuse\.(sshfs|glusterfs)"
)


def is_network_drive(folder: Path) -> bool:
    """Return whether a folder is known to lie on a drive shared between computers."""
    folder = folder.resolve()
    if sys.platform == "win32":
        import ctypes

        remote = 4
        return (
            folder.drive.startswith("\\\\")
            or ctypes.windll.kernel32.GetDriveTypeW(folder.anchor) == remote
        )
    return _NETWORK_TYPES.fullmatch(mount_type(folder, _mounts())) is not None


def mount_type(folder: PurePath, mounts: Iterable[tuple[str, str]]) -> str:
    """Return the type of the file system that holds a folder.

    Parameters
    ----------
    folder : PurePath
        Absolute.
    mounts : iterable of (mount point, type)
        A later mount hides an earlier one at the same place.
    """
    holder, kind = "", ""
    for point, type_ in mounts:
        if folder.is_relative_to(point) and len(point) >= len(holder):
            holder, kind = point, type_
    return kind


def _mounts() -> list[tuple[str, str]]:
    table = Path("/proc/self/mounts")
    if table.exists():
        lines = (line.split(" ") for line in table.read_text(errors="replace").splitlines())
        return [(fields[1].replace("\\040", " "), fields[2]) for fields in lines]
    if sys.platform == "darwin":
        # "//user@server/share on /Volumes/share (smbfs, nodev, nosuid)"
        output = subprocess.run(["/sbin/mount"], capture_output=True, text=True, check=False)
        lines = [line.partition(" on ")[2] for line in output.stdout.splitlines()]
        split = [line.rpartition(" (") for line in lines]
        return [(point, rest.rstrip(")").split(",")[0]) for point, _, rest in split]
    return []
