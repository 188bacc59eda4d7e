"""What all sets of simulation parameters have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Range = tuple[float, float]
"""Lowest and highest value of a uniform draw."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


class Parameters(BaseModel):
    """Frozen, and strict about names: a misspelt parameter is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
