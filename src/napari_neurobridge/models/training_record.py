"""What a fine-tuned model folder says of the training that made it: ``training.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_neurobridge.io.files import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

TRAINING_FILE = "training.json"


class TrainingPoint(BaseModel):
    """One point of the curves of a training; a number that was not measured is ``None``."""

    model_config = ConfigDict(frozen=True)

    step: int = Field(ge=0, description="Updates done.")
    loss: float | None = Field(None, description="Of the batch of this step.")
    score: float | None = Field(
        None, description="Bits for each combination on the validation pairs; 1 is perfect."
    )


class TrainingRecord(BaseModel):
    """What a model came from, how, and how much better it is."""

    model_config = ConfigDict(frozen=True)

    origin: str = Field(description="Name and hash of the model that it was made from.")
    date: str = Field(description="When, UTC, ISO 8601.")
    strategy: str = Field(description="Which weights changed.")
    n_train: int = Field(description="Pairs that it learned.")
    n_validation: int = Field(description="Pairs that its weights were chosen by.")
    n_test: int = Field(description="Pairs that it was compared on.")
    n_rejected: int = Field(0, description="Rejected candidates that it learned.")
    n_free: int = Field(0, description="Of the pairs learned, those claimed from places alone.")
    separation: str = Field(description="What keeps the test pairs apart from the others.")
    top1_before: float = Field(description="Partner first among the test pairs, before.")
    top1_after: float = Field(description="The same, after.")
    gain: float = Field(description="Gain in reciprocal rank, pair by pair.")
    gain_interval: tuple[float, float] = Field(description="80 % interval of the gain.")
    better: bool = Field(description="Whether it was good enough to be adopted.")
    reason: str = Field(description="Why it was adopted or not, in a sentence.")
    curve: tuple[TrainingPoint, ...] = ()


def write_training_record(folder: Path, record: TrainingRecord) -> None:
    """Write the record into a model folder."""
    with atomic_write(folder / TRAINING_FILE) as temporary:
        temporary.write_bytes(record.model_dump_json(indent=1).encode("utf-8"))


def read_training_record(folder: Path) -> TrainingRecord | None:
    """Return the record of a model folder; None where there is none that can be read."""
    try:
        return TrainingRecord.model_validate_json((folder / TRAINING_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
