"""Arguments and options that several commands share, and how their text is read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.parsing import parse_model
from napari_neurobridge.spaces.orientation import Orientation

ProjectArgument = Annotated[
    Path, typer.Argument(metavar="PROJECT", help="Project folder, usually NAME.neurobridge.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Name of a model (see 'models') or path of its folder; the project's current one "
        "unless given, the bundled one without a project.",
    ),
]
AnnotatorOption = Annotated[
    str | None, typer.Option("--annotator", help="Who decides; the login name unless given.")
]
LevelOption = Annotated[
    str,
    typer.Option(
        "--level",
        help="Difficulty: easy, paper, hard or sparse; or an imaging domain: domain-A, domain-B, "
        "domain-C, domain-D, domain-E or domain-F.",
    ),
]
SeedsOption = Annotated[
    list[int] | None,
    typer.Option("--seed", help="A held-out scene; repeat it for more. Several unless given."),
]

OrientationOption = Annotated[
    str | None,
    typer.Option(
        "--orientation",
        metavar="AXES[,angle=A][,expansion=E]",
        help="Which signed axes of the fMOST dataset run along the two-photon z, y and x, such as "
        "+y+z-x,angle=10,expansion=0.8; or a JSON file that says so.",
    ),
]

_ORIENTATION_NUMBERS = {"angle": "angle_deg", "expansion": "expansion"}


def parse_orientation(text: str) -> Orientation:
    """Read an orientation from the command line.

    Parameters
    ----------
    text : str
        Signed axes, then numbers by name, such as ``"+y+z-x,angle=10,expansion=0.8"``;
        or the path of a JSON file such as ``simulate`` writes.

    Raises
    ------
    InputError
        If it names no orientation.
    """
    if text.lower().endswith(".json"):
        return parse_model(Orientation, _read_json(Path(text)), what=f"{text} is no orientation")
    parts = [part.strip() for part in text.split(",")]
    values: dict[str, object] = {"axes": "".join(part for part in parts if "=" not in part)}
    for name, _, number in (part.partition("=") for part in parts if "=" in part):
        if name not in _ORIENTATION_NUMBERS:
            raise InputError(f"An orientation knows 'angle' and 'expansion', not '{name}'.")
        values[_ORIENTATION_NUMBERS[name]] = number
    return parse_model(Orientation, values, what=f"'{text}' is no orientation")


def parse_assignments(texts: Sequence[str], names: Sequence[str], option: str) -> dict[str, str]:
    """Read a repeatable option ``[DATASET=]VALUE`` into a value for each dataset.

    Parameters
    ----------
    texts : sequence of str
        As given. A bare value is for all datasets; a named one wins.
    names : sequence of str
        Datasets that exist.
    option : str
        Name of the option, for messages.

    Raises
    ------
    InputError
        If a dataset is not among ``names``.
    """
    bare = [text for text in texts if "=" not in text]
    values = dict.fromkeys(names, bare[-1]) if bare else {}
    for name, _, value in (text.partition("=") for text in texts if "=" in text):
        if name not in names:
            raise InputError(f"{option} names '{name}', but the datasets are {', '.join(names)}.")
        values[name] = value
    return values


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read {path}: {error}.") from error
