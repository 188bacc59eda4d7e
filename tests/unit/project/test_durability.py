"""Nothing acknowledged is lost, whoever is killed and whoever else writes."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from napari_neurobridge.project import Project

if TYPE_CHECKING:
    from pathlib import Path

N_ANNOTATIONS = 200
ANNOTATE = f"""
import sys
from napari_neurobridge.project import Project
from napari_neurobridge.project.log import annotate
project = Project.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range({N_ANNOTATIONS}):
    query, candidate = f"tp-0000{{number % 5 + 1}}", f"fm-0000{{number // 5 % 5 + 1}}"
    (event,) = annotate.reject(project, query, candidate, annotator=sys.argv[2])
    print(event.id, flush=True)
"""


def start(project: Path, annotator: str) -> subprocess.Popen[str]:
    """Start a process that annotates once it gets a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", ANNOTATE, str(project), annotator],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_loses_no_acknowledged_annotation(project: Project, seed: int) -> None:
    process = start(project.path, "ben")
    go(process)
    assert process.stdout is not None
    moment = random.Random(seed).randrange(1, N_ANNOTATIONS)
    acknowledged = [process.stdout.readline().strip() for _ in range(moment)]
    process.kill()
    rest, _ = process.communicate()
    # A line that the kill cut short was not acknowledged.
    acknowledged += [line.strip() for line in rest.splitlines(keepends=True) if line.endswith("\n")]

    reopened = Project.open(project.path)
    events = [event for event in reopened.log.events() if event.annotator == "ben"]
    assert set(acknowledged) <= {event.id for event in events}
    assert len(events) <= len(acknowledged) + 1
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert reopened.state().asked
    reopened.close()


@pytest.mark.parametrize("names", [("ben", "carla"), ("ben", "ben")])
def test_two_processes_annotate_at_once(project: Project, names: tuple[str, str]) -> None:
    processes = [start(project.path, name) for name in names]
    for process in processes:
        go(process)
    printed = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]

    events = [event for event in project.log.events() if event.annotator in names]
    assert {event.id for event in events} == set(printed[0]) | set(printed[1])
    assert len(events) == 2 * N_ANNOTATIONS
    for name in set(names):
        sequence = [event.sequence for event in events if event.annotator == name]
        assert sequence == list(range(1, len(sequence) + 1))
    assert [event.time for event in events] == sorted({event.time for event in events})
    assert len(project.state().verdicts) == 25 * len(set(names))
