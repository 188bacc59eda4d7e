"""Exit codes, error lines and the shared options, on commands made for the test."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from functools import partial

import pytest
import typer

from napari_neurobridge.cli import _app, main
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.cli._progress import ProgressStyle, make_report, stop_requested
from napari_neurobridge.errors import Cancelled, ErrorKind, InputError, NeuroBridgeError


class Sum(CommandResult):
    total: int
    unknown: float | None


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """An application in place of the real one."""
    made = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

    def add(numbers: list[int], *, fail: str = "", report) -> Sum:
        """Add numbers."""
        sys.stdout.write("a library says hello\n")
        errors = {
            "input": InputError,
            "failure": NeuroBridgeError,
            "stop": Cancelled,
            "unindexed": partial(InputError, kind=ErrorKind.NOT_INDEXED),
        }
        for done, _ in enumerate(numbers, start=1):
            report(done, len(numbers), "adding")
        if fail == "terminate":
            signal.raise_signal(signal.SIGTERM)
        if fail == "disk":
            raise OSError(28, "No space left on device")
        if fail:
            raise errors[fail](f"it was\n{fail}")
        return Sum(total=sum(numbers), unknown=float("nan"))

    command(made, "add")(add)
    made.command("other")(lambda: None)
    monkeypatch.setattr(_app, "app", made)
    return made


def test_json_is_one_object_on_stdout_with_null_for_unknown(app, capsys) -> None:
    assert main(["add", "1", "2", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"total": 3, "unknown": None}
    assert captured.out.count("\n") == 1
    assert captured.err == "a library says hello\n"


def test_people_get_text(app, capsys) -> None:
    assert main(["add", "1", "2"]) == 0
    assert capsys.readouterr().out.startswith("total: 3")


def test_progress_for_machines_is_json_lines_on_stderr(app, capsys) -> None:
    assert main(["add", "1", "2", "--progress", "json", "--json"]) == 0
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.err.splitlines() if line.startswith("{")]
    assert lines[0] == {"done": 1, "total": 2, "message": "adding"}
    assert lines[-1] == {"done": 2, "total": 2, "message": "adding"}


@pytest.mark.parametrize(
    ("fail", "code"),
    [("input", 2), ("failure", 1), ("disk", 1), ("stop", 130), ("terminate", 130)],
)
def test_an_error_is_one_line_and_its_exit_code(app, capsys, fail: str, code: int) -> None:
    assert main(["add", "1", "--fail", fail]) == code
    captured = capsys.readouterr()
    errors = captured.err.splitlines()[1:]  # the first is the library's
    assert len(errors) == 1
    assert errors[0].startswith("Error: ")
    assert captured.out == ""


@pytest.mark.parametrize("option", [["--progress", "json"], ["--progress=json"]])
def test_an_error_for_machines_has_its_kind(app, capsys, option: list[str]) -> None:
    assert main(["add", "1", "--fail", "unindexed", *option]) == 2
    machine, person = capsys.readouterr().err.splitlines()[-2:]
    assert json.loads(machine) == {"error": "it was unindexed", "kind": "not indexed"}
    assert person == "Error: it was unindexed; run 'neurobridge index'."
    assert main(["add", "1", "--fail", "input", *option]) == 2
    assert json.loads(capsys.readouterr().err.splitlines()[-2])["kind"] is None


def test_debug_adds_a_traceback(app, capsys) -> None:
    assert main(["add", "1", "--fail", "input", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["add"], ["add", "x"], ["add", "1", "--colour"], ["add", "--fail"]]
)
def test_wrong_use_is_one_line_and_exit_code_two(app, capsys, arguments: list[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_signal_handlers_are_put_back(app) -> None:
    before = signal.getsignal(signal.SIGTERM)
    main(["add", "1"])
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_report_stops_the_job_after_a_stop_was_requested() -> None:
    report = make_report(ProgressStyle.NONE)
    report(1, 2, "working")
    stop_requested.set()
    try:
        with pytest.raises(Cancelled):
            report(2, 2, "working")
    finally:
        stop_requested.clear()


def test_an_unforeseen_error_is_one_line_too() -> None:
    code = (
        "import sys\n"
        "from napari_neurobridge.cli import _progress, main\n"
        "from napari_neurobridge.models import zoo\n"
        "zoo.list_models = lambda project: 1 / 0\n"
        "sys.exit(main(['models', *sys.argv[1:]]))\n"
    )
    plain = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert plain.returncode == 1
    assert plain.stderr.splitlines() == [
        "Error: Unexpected ZeroDivisionError: division by zero. "
        "Add --debug to see where it happened."
    ]
    debug = subprocess.run([sys.executable, "-c", code, "--debug"], capture_output=True, text=True)
    assert "Traceback" in debug.stderr


def test_help_loads_neither_torch_nor_images() -> None:
    code = (
        "import sys\n"
        "from napari_neurobridge.cli import main\n"
        "assert main(['--help']) == 0\n"
        "assert main(['benchmark', '--help']) == 0\n"
        "heavy = 'torch zarr tifffile sqlalchemy pyarrow pandas sklearn qtpy napari'.split()\n"
        "loaded = set(heavy) & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
