from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.lock import LockHolder, is_alive, writer_lock

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.project import Project


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.lock"


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_project_runs_one_long_job(project: Project) -> None:
    with project.lock() as holder:
        assert holder.pid == os.getpid()
        with pytest.raises(InputError, match=f"process {os.getpid()} on"), project.lock():
            pass
    with project.lock():
        pass
    assert not (project.path / "job.lock").exists()


def test_it_is_released_when_the_job_fails(path: Path) -> None:
    with pytest.raises(RuntimeError), writer_lock(path):
        raise RuntimeError
    assert not path.exists()


def test_a_dead_processs_lock_is_taken_over(path: Path, dead_pid: int) -> None:
    with writer_lock(path) as holder:
        stale = holder.model_copy(update={"pid": dead_pid, "token": "other"})
    path.write_text(stale.model_dump_json())
    with writer_lock(path) as holder:
        assert LockHolder.model_validate_json(path.read_text()) == holder
    assert [item.name for item in path.parent.iterdir()] == []


def test_another_computers_lock_stands(path: Path, dead_pid: int) -> None:
    holder = LockHolder(pid=dead_pid, host="elsewhere", since="2026", token="a")
    path.write_text(holder.model_dump_json())
    with pytest.raises(InputError, match="on elsewhere since 2026"), writer_lock(path):
        pass
    assert path.exists()


def test_half_a_lock_is_waited_for_and_then_removed(path: Path) -> None:
    path.write_text('{"pid": 1')
    with pytest.raises(InputError, match="just starting"), writer_lock(path):
        pass
    os.utime(path, (0, 0))
    with writer_lock(path):
        pass


def test_is_alive(dead_pid: int) -> None:
    assert is_alive(os.getpid())
    assert not is_alive(dead_pid)
