"""The command line: every action of the plugin, through the same functions."""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Command and options; those of the process unless given.

    Returns
    -------
    int
        Exit code: 0, 1 for a failure, 2 for bad input or use, 130 when it was stopped.
    """
    from napari_neurobridge.cli._run import run

    return run(list(sys.argv[1:] if argv is None else argv))
