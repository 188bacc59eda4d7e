"""The command line of the modules that make bundled models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.training import (
    feature_task,
    gccm_task,
    matcher_task,
    segmenter_task,
    semantic_task,
    soma_pair_task,
)
from napari_neurobridge.training.command import asked_loop, command_of, run_task, task_parser
from napari_neurobridge.training.loop import LoopConfig


def test_steps_and_seed_are_asked_for_or_kept() -> None:
    parser = task_parser("Train.", Path("models/one"), "of what it draws")
    loop = LoopConfig(steps=700, learning_rate=0.01)
    kept = asked_loop(loop, parser.parse_args(["--cache", "here"]))
    assert kept == loop
    asked = asked_loop(loop, parser.parse_args(["--cache", "h", "--steps", "9", "--seed", "4"]))
    assert (asked.steps, asked.seed, asked.learning_rate) == (9, 4, 0.01)
    assert parser.parse_args(["--cache", "here"]).out == Path("models/one")


def test_a_card_says_a_command_that_can_be_typed() -> None:
    assert command_of("some_task", joint_steps=3, seed=0) == (
        "python -m napari_neurobridge.training.some_task --cache CACHE --joint-steps 3 --seed 0"
    )


def test_what_is_made_is_printed_and_errors_are_exit_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_task(lambda: "right: 3") == 0
    assert capsys.readouterr().out == "right: 3\n"
    assert run_task(lambda: None) == 0
    assert capsys.readouterr().out == ""

    def fail() -> None:
        raise InputError("There is no such level.")

    assert run_task(fail) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "module",
    [feature_task, gccm_task, matcher_task, segmenter_task, semantic_task, soma_pair_task],
    ids=lambda module: module.__name__.rsplit(".", 1)[-1],
)
def test_each_card_says_its_own_module_with_options_that_it_takes(
    module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The command of the card is parsed by the module itself, and says the same command."""
    said: list[str] = []

    def make(*_: object, command: str, **__: object) -> Callable[..., None]:
        said.append(command)
        raise InputError("It is not made here.")

    (name,) = {name for name in vars(module) if name.startswith("make_") and "folder" in name}
    monkeypatch.setattr(module, name, make)
    assert module.main(["--cache", str(tmp_path), "--steps", "12", "--seed", "3"]) == 2
    program, _, arguments = said[0].partition(" --cache CACHE ")
    assert program == f"python -m {module.__name__}"
    assert module.main(["--cache", str(tmp_path), *arguments.split()]) == 2
    assert said[0] == said[1]
    assert "--steps 12" in said[0]
