"""What all benchmarks have in common: how they are asked, and how they answer.

A benchmark that the command line runs is a module with a function ``run(parameters, *,
report)``. ``parameters`` is a pydantic model, from which the options are made (see
`cli._parameters`), and what it returns is a `BenchmarkResult`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from napari_neurobridge.io.text_table import text_lines

if TYPE_CHECKING:
    from napari_neurobridge.encoder.embed import Encoder

Level = Annotated[
    str,
    Field(
        description="Difficulty: easy, paper, hard or sparse; or an imaging domain: domain-A, "
        "domain-B, domain-C, domain-D, domain-E or domain-F."
    ),
]
_SCENES = Field(
    description="A held-out scene; repeat it for more. Several unless given.",
    json_schema_extra={"option": "seed"},
)
Seeds = Annotated[tuple[int, ...], _SCENES]
SomeSeeds = Annotated[tuple[int, ...] | None, _SCENES]


class BenchmarkParameters(BaseModel):
    """What a benchmark is asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BenchmarkResult(BaseModel):
    """What a benchmark found; with ``--json`` the command prints exactly this object."""

    model_config = ConfigDict(frozen=True)

    def summary(self) -> str:
        """Return the same for people; subclasses know better words."""
        return text_lines(self)


class ModelParameters(BenchmarkParameters):
    """Of a benchmark that measures a model."""

    model: str | None = Field(
        None,
        description="Name of a model (see 'models') or path of its folder; the bundled one "
        "unless given.",
    )

    def encoder(self) -> Encoder:
        """Load the model.

        Raises
        ------
        InputError
            If there is no such model, or it cannot be read.
        """
        from napari_neurobridge.workflows.index import load_encoder

        return load_encoder(None, self.model)
