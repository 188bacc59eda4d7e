"""The command line that the modules which make bundled models have in common."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_neurobridge.errors import NeuroBridgeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_neurobridge.training.loop import LoopConfig

logger = logging.getLogger(__name__)


def task_parser(description: str, out: Path | None, cache: str) -> argparse.ArgumentParser:
    """Return a parser of ``--out``, ``--cache``, ``--steps`` and ``--seed``.

    Parameters
    ----------
    description : str
    out : Path or None
        Model folder that is written unless another is given.
    cache : str
        What the folder of ``--cache`` is for.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=out, help="model folder to write")
    parser.add_argument("--cache", type=Path, required=True, help=f"folder {cache}")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def asked_loop(loop: LoopConfig, options: argparse.Namespace) -> LoopConfig:
    """Return a loop with the steps, if they are given, and the seed of the command line."""
    steps = loop.steps if options.steps is None else options.steps
    return loop.model_copy(update={"seed": options.seed, "steps": steps})


def command_of(module: str, **options: Any) -> str:
    """Return the command line that a card says, with ``CACHE`` for the folder."""
    given = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in options.items())
    return f"python -m napari_neurobridge.training.{module} --cache CACHE {given}"


def run_task(make: Callable[[], str | None]) -> int:
    """Run what makes a model, logging to stderr; print what it returns, and return the exit code.

    Parameters
    ----------
    make : callable
        Returns text for stdout, or None.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    try:
        text = make()
    except NeuroBridgeError as error:
        logger.error("%s", error)
        return error.exit_code
    if text:
        sys.stdout.write(text + "\n")
    return 0
