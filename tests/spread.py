"""How pytest-xdist spreads the tests over its workers; see CONTRIBUTING.md."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

WINDOWS = ("tests/viewer/", "tests/widgets/", "tests/integration/test_sample_in_napari.py")
"""Where tests open windows, themselves or in a child process."""


def opens_windows(nodeid: str) -> bool:
    """Return whether a test is among those that may open a window."""
    return nodeid.startswith(WINDOWS)


class FileByFile(LoadScopeScheduling):
    """Sends each file to one worker, and all files that open windows to one and the same.

    They are taken in the order in which `conftest` puts them, not the longest first.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "windows" if opens_windows(nodeid) else nodeid.split("::", 1)[0]
