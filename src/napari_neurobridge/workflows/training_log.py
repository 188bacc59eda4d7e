"""Where a training stands, step by step, in a file that others may read meanwhile."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_neurobridge.models.training_record import TrainingPoint

if TYPE_CHECKING:
    from pathlib import Path

LOG_FILE = "training.jsonl"
"""In the runs of a project: of the training that began last."""


@dataclass(frozen=True)
class TrainingLog:
    """What the log of a training says.

    Attributes
    ----------
    key : str
        Tells trainings apart: one with the same key goes on where this one was stopped.
    facts : dict
        What was known when it began: numbers of pairs, strategy, steps.
    points : tuple of TrainingPoint
        By step; at a validated step there is one with a loss and one with a score.
    ended : bool
        Whether it came to its end; otherwise it runs, or was stopped.
    """

    key: str
    facts: dict[str, Any]
    points: tuple[TrainingPoint, ...]
    ended: bool

    @property
    def last_step(self) -> int:
        """The step that was reached."""
        return max((point.step for point in self.points), default=0)


class TrainingLogWriter:
    """Writes the log, one line at a time, so that a kill costs at most the last line.

    Parameters
    ----------
    path : Path
    key : str
        A log with the same key is continued if ``resumes``; any other is replaced.
    facts : dict
        See `TrainingLog`.
    resumes : bool
        Whether the training goes on from a checkpoint.
    """

    def __init__(self, path: Path, key: str, facts: dict[str, Any], *, resumes: bool) -> None:
        self._path = path
        known = read_training_log(path) if resumes else None
        if known is None or known.key != key:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write("w", {"key": key, **facts})
        else:
            self._write("a", {})  # ends a line that was torn by a kill

    def add(self, point: TrainingPoint) -> None:
        """Add a point."""
        self._write("a", point.model_dump(exclude_none=True))

    def end(self) -> None:
        """Say that it came to its end."""
        self._write("a", {"ended": True})

    def _write(self, mode: str, content: dict[str, Any]) -> None:
        line = json.dumps(content) if content else ""
        with self._path.open(mode, encoding="utf-8") as handle:
            handle.write(f"{line}\n")


def read_training_log(path: Path) -> TrainingLog | None:
    """Return what a log says; None where there is none.

    Steps that were done again after a kill count once, and what is torn is passed over.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    contents = [content for line in lines if (content := _parse(line)) is not None]
    if not contents or not isinstance(contents[0].get("key"), str):
        return None
    facts = dict(contents[0])
    points: dict[tuple[int, bool], TrainingPoint] = {}
    ended = False
    for content in contents[1:]:
        ended = bool(content.get("ended"))
        if isinstance(step := content.get("step"), int):
            point = TrainingPoint(step=step, loss=content.get("loss"), score=content.get("score"))
            points[step, point.loss is None] = point
    ordered = tuple(points[place] for place in sorted(points))
    return TrainingLog(facts.pop("key"), facts, ordered, ended)


def _parse(line: str) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
