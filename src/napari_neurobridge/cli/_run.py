"""Running the application: one line for each error, and a stop within a second."""

import json
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import cast

import typer

from napari_neurobridge.cli import _progress
from napari_neurobridge.cli._remedies import explain
from napari_neurobridge.errors import Cancelled, InputError, NeuroBridgeError

# typer bundles its own click in some versions and uses the real one in others; in both,
# the parent of BadParameter is what any wrong use raises.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; no exception of ours escapes.

    Parameters
    ----------
    arguments : sequence of str
        Command and options. ``--debug`` among them adds tracebacks to error lines.
    """
    debug = "--debug" in arguments
    with _stoppable(), _one_line_for_bugs(debug), warnings.catch_warnings():
        if not debug:
            warnings.simplefilter("ignore")
        try:
            # Imported here, so that a stop is already answered while modules load.
            from napari_neurobridge.cli._app import app

            command = typer.main.get_command(app)
            code = command.main(
                list(arguments) or ["--help"], prog_name="neurobridge", standalone_mode=False
            )
            if code == Cancelled.exit_code:  # typer turns KeyboardInterrupt into this
                raise KeyboardInterrupt
        except (KeyboardInterrupt, typer.Abort, Cancelled):
            return _fail(Cancelled("Stopped; what was finished is kept."), arguments)
        except NeuroBridgeError as error:
            return _fail(error, arguments)
        except _UsageError as error:
            return _fail(InputError(error.format_message()), arguments)
        except (OSError, MemoryError) as error:
            return _fail(NeuroBridgeError(f"{error or type(error).__name__}"), arguments)
    return code if isinstance(code, int) else 0


def _fail(error: NeuroBridgeError, arguments: Sequence[str]) -> int:
    if "--debug" in arguments:
        traceback.print_exc()
    _progress.clear_bar()
    if _progress.for_machines(arguments):
        typer.echo(json.dumps({"error": _one_line(str(error)), "kind": error.kind}), err=True)
    typer.echo(f"Error: {_one_line(explain(error))}", err=True)
    return error.exit_code


def _one_line(message: str) -> str:
    return " ".join(message.split())


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and Windows' Ctrl-Break into `KeyboardInterrupt`."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    names = ("SIGINT", "SIGTERM", "SIGBREAK")
    before = {
        number: signal.getsignal(number)
        for name in names
        if (number := getattr(signal, name, None)) is not None
    }
    _progress.stop_requested.clear()
    try:
        for number in before:
            signal.signal(number, _stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    # The flag is for an interrupt that lands where Python swallows exceptions, such as
    # in a destructor: the next report then stops the job.
    _progress.stop_requested.set()
    raise KeyboardInterrupt


@contextmanager
def _one_line_for_bugs(debug: bool) -> Iterator[None]:
    """Show an unforeseen exception as one line too, unless ``--debug`` is given."""

    def show(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
        text = f"Unexpected {kind.__name__}: {error}. Add --debug to see where it happened."
        typer.echo(f"Error: {_one_line(text)}", err=True)

    before = sys.excepthook
    if not debug:
        sys.excepthook = show
    yield
    # Not in a finally: when an exception is on its way out, the hook has to stay.
    sys.excepthook = before
