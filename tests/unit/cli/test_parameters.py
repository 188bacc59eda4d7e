"""Options that are made from a pydantic model, and the benchmarks' own."""

from __future__ import annotations

import re
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest
import typer
from pydantic import BaseModel, Field
from typer.testing import CliRunner

from napari_neurobridge.benchmarks.contract import BenchmarkParameters, BenchmarkResult
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.cli._parameters import model_options, parse_options
from napari_neurobridge.cli.benchmark import BENCHMARKS
from napari_neurobridge.errors import InputError

DOCS = Path(__file__).parents[3] / "docs"
BY_NAME = {benchmark.name: benchmark for benchmark in BENCHMARKS}


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Request(BaseModel, frozen=True, extra="forbid"):
    """One field of each kind."""

    table: Path = Field(description="What to read.", json_schema_extra={"argument": True})
    n_pairs: int = Field(4, ge=1, le=9, description="How many pairs.")
    share: float = 0.5
    name: str | None = Field(None, json_schema_extra={"metavar": "WORD"})
    colour: Colour = Colour.RED
    kind: Literal["one", "two"] = "one"
    size_um: tuple[float, float, float] = (1.0, 2.0, 3.0)
    seeds: tuple[int, ...] = Field((7, 8), json_schema_extra={"option": "seed"})
    words: tuple[str, ...] = ("a", "b")
    some: tuple[str, ...] | None = None
    images: bool = False


class Echo(CommandResult):
    """What was understood."""

    request: Request


@pytest.fixture
def app() -> typer.Typer:
    import inspect

    def echo(**arguments: Any) -> Echo:
        return Echo(request=parse_options(Request, arguments, what="echo"))

    echo.__signature__ = inspect.Signature(model_options(Request))  # type: ignore[attr-defined]
    app = typer.Typer(rich_markup_mode=None)
    command(app, "echo")(echo)
    return app


def understood(app: typer.Typer, *arguments: str) -> Request:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return Echo.model_validate_json(result.stdout).request


def test_what_is_not_given_is_the_models_default(app):
    assert understood(app, "t.csv") == Request(table=Path("t.csv"))


def test_every_kind_of_field_is_read(app):
    options = (
        "t.csv --n-pairs 3 --share 0.25 --name x --colour blue --kind two --size-um 4 5 6 "
        "--seed 1 --seed 2 --words x,y --some p,q --images"
    )
    assert understood(app, *options.split()) == Request(
        table=Path("t.csv"),
        n_pairs=3,
        share=0.25,
        name="x",
        colour=Colour.BLUE,
        kind="two",
        size_um=(4, 5, 6),
        seeds=(1, 2),
        words=("x", "y"),
        some=("p", "q"),
        images=True,
    )
    assert understood(app, "t.csv", "--words", " x , y ").words == ("x", "y")
    assert understood(app, "t.csv", "--no-images").images is False


def test_help_says_description_default_and_bounds(app):
    text = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    assert "How many pairs." in text
    assert "[default: 4; 1<=x<=9]" in text
    assert "--name WORD" in text
    assert "[default: 7, 8]" in text
    assert "--images / --no-images" in text


@pytest.mark.parametrize(
    "wrong", ["--n-pairs 10", "--colour green", "--kind three", "--size-um 1 2", "--share x"]
)
def test_what_does_not_fit_is_refused(app, wrong):
    assert CliRunner().invoke(app, ["t.csv", *wrong.split()]).exit_code == 2
    assert CliRunner().invoke(app, []).exit_code == 2


def test_what_only_the_model_refuses_is_one_sentence():
    class Even(BaseModel):
        n: int = Field(2, multiple_of=2)

    with pytest.raises(InputError, match=r"^even: n: .* multiple of 2\.$"):
        parse_options(Even, {"n": 3}, what="even")


def test_a_field_that_no_option_can_hold_is_a_mistake_of_the_programmer():
    class Nested(BaseModel):
        request: Request | None = None

    with pytest.raises(TypeError, match="no option for request"):
        model_options(Nested)


# --- the benchmarks -----------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_benchmark_keeps_the_contract(name):
    benchmark = BY_NAME[name]
    assert issubclass(benchmark.parameters(), BenchmarkParameters)
    assert issubclass(benchmark.result(), BenchmarkResult)
    for option, field in benchmark.parameters().model_fields.items():
        assert field.description, f"--{option} of {name} has no help"


def documented() -> list[str]:
    """Return every command line of docs/benchmarks.md, with its placeholders filled in."""
    text = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    lines = re.findall(r"(?:neurobridge |`)(benchmark [a-z][^`\n]*)", text)
    tables = re.search(r"`\$T` is `([^`]+)`", " ".join(text.split()))
    assert tables is not None
    return [line.replace("$T", tables[1]) for line in lines]


def arguments_of(line: str) -> list[str]:
    """Return the words of a documented line, without comments, choices and ellipses."""
    line = re.sub(r"\s+#.*|[\[\]]|--part …", "", line).replace("N N", "5")
    words = [word for word in shlex.split(line) if word not in ("…", "|")]
    return ["5" if word == "N" else word for word in words[1:]]


@pytest.mark.parametrize("line", documented())
def test_documented_commands_are_understood(line):
    name, *arguments = arguments_of(line)
    parsed = typer.main.get_command(BY_NAME[name].app())
    known = parsed.make_context(name, arguments)
    assert parse_options(BY_NAME[name].parameters(), known.params, what=name)
